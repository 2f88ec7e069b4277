"""Register blocks of the chips: storage, clocks and power, flash controllers."""
