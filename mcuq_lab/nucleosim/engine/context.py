"""Layout of the memory that the compiled hooks share with Python: one array of 64-bit integers."""

# Written by the block hook, read by Python.
CYCLES = 0  # since the engine was made
INSTRUCTIONS = 1
ROW = 2  # row of the block that is executing; NO_ROW when none is
STATE = 3  # pipeline state on entry of the next block, valid while ROW is NO_ROW
STOP = 4  # why a hook stopped execution: one of the STOP_ constants
STOP_ADDRESS = 5

# Written by Python, read by the hooks.
LIMIT = 8  # stop before the first block that starts at this many cycles or later
ROWS_ADDRESS = 9
HASH_ADDRESS = 10
EMU_STOP = 11  # address of uc_emu_stop
REG_READ = 12  # address of uc_reg_read
RESOLVE = 13  # address of the Python function that costs a block
MUTED = 14  # when 1 the block hook does nothing (single steps are counted in Python)
DIVIDE_TRAPS = 15  # 1 if a division by zero stops (CCR.DIV_0_TRP)

SIZE = 16

NO_ROW = -1

STOP_NONE = 0
STOP_LIMIT = 1  # the cycle limit
STOP_RESOLVE = 2  # Python wants the hooks of a new block in place before it runs
STOP_BREAKPOINT = 3  # a hardware breakpoint
STOP_UNALIGNED = 4  # a multiple-word access at an address that is not a multiple of 4
STOP_NO_FPU = 5  # a floating-point instruction while the FPU is off
STOP_DIVIDE_BY_ZERO = 7
STOP_SUSPECT = 6  # a block was entered with a base register that may make an access unaligned

# One row for each (block address, entry state).
ROW_ADDRESS = 0
ROW_SIZE = 1
ROW_STATE = 2
ROW_INSTRUCTIONS = 3
ROW_CYCLES_NEXT = 4  # if the block that follows in memory runs next
ROW_EXIT_NEXT = 5
ROW_CYCLES_TAKEN = 6  # if control went elsewhere
ROW_EXIT_TAKEN = 7
ROW_NEXT = 8  # row that followed last time, for the two ways out; NO_ROW if not seen yet
ROW_TAKEN = 9
ROW_TAKEN_ADDRESS = 10
ROW_CHECKS_KEPT = 11  # 1 if a repeat of the block needs no new checks
ROW_FIRST_CHECK = 12  # each: register id << 2 | constant, whose sum must be a multiple of 4
ROW_CHECKS = 2
ROW_WORDS = 14

NO_CHECK = -1

MAX_ROWS = 1 << 15
HASH_SLOTS = 1 << 17  # power of two, four times the rows
