"""Layout of the memory that the compiled hooks share with Python: one array of 64-bit integers."""

from mcuq_lab.nucleosim.timing import MOST_BASES

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
MEMORIES_ADDRESS = 16  # kinds of memory, a byte for each MEMORY_PAGE_BYTES of the address space
PLACE_MASK = 17  # which low bits of an address the timing model looks at
PREDICTOR_ADDRESS = 18
CODE_WAITS = 19  # address of the array that waits.py describes; 0 where code never waits
LITERAL_WAITS = 20  # the same for data in the memory that code runs from
CALLS = 21  # address of the tree that calls.py describes; 0 while nothing is recorded
ENDS_ADDRESS = 22  # what the block of each row does to the stack of calls, while it is recorded
RAM_WAITS = 23  # the array that waits.py describes, for RAM behind the data cache; 0 without

SIZE = 24

NO_ROW = -1

STOP_NONE = 0
STOP_LIMIT = 1  # the cycle limit
STOP_RESOLVE = 2  # Python wants the hooks of a new block in place before it runs
STOP_BREAKPOINT = 3  # a hardware breakpoint
STOP_UNALIGNED = 4  # a multiple-word access at an address that is not a multiple of 4
STOP_NO_FPU = 5  # a floating-point instruction while the FPU is off
STOP_SUSPECT = 6  # a block was entered with a base register that may make an access unaligned
STOP_DIVIDE_BY_ZERO = 7

# One row for each (block address, entry state, signature of the places of its base registers).
ROW_ADDRESS = 0
ROW_SIZE = 1
ROW_STATE = 2
ROW_SIGNATURE = 3
ROW_INSTRUCTIONS = 4
ROW_CYCLES_NEXT = 5  # if the block that follows in memory runs next
ROW_EXIT_NEXT = 6
ROW_CYCLES_TAKEN = 7  # if control went elsewhere
ROW_EXIT_TAKEN = 8
ROW_NEXT = 9  # row that followed last time, for the two ways out; NO_ROW if not seen yet
ROW_TAKEN = 10
ROW_TAKEN_ADDRESS = 11
ROW_MISPREDICT = 12  # cycles of a wrong prediction at its end; 0 if nothing is predicted
ROW_PREDICTOR = 13  # its branch's entry in the predictor's table
ROW_CHECKS_KEPT = 14  # 1 if a repeat of the block needs no new checks
ROW_FIRST_CHECK = 15  # each: register id << 2 | constant, whose sum must be a multiple of 4
ROW_CHECKS = 2
ROW_BASES = 17  # number of base registers, then their ids
ROW_FIRST_BASE = 18
# For each base: first and last byte that the block reaches from it, and whether it loads there.
ROW_FIRST_REACH = ROW_FIRST_BASE + MOST_BASES
ROW_FIRST_LITERAL = (
    ROW_FIRST_REACH + 3 * MOST_BASES
)  # addresses of constants; NO_LITERAL behind them
ROW_LITERALS = 3
# Counted by the hooks: how often the block ended in each of its ways, and cycles beyond its cost.
ROW_COUNT_NEXT = ROW_FIRST_LITERAL + ROW_LITERALS
ROW_COUNT_TAKEN = ROW_COUNT_NEXT + 1
ROW_EXTRA_DIVIDE = ROW_COUNT_NEXT + 2
ROW_EXTRA_BRANCH = ROW_COUNT_NEXT + 3
ROW_EXTRA_CODE = ROW_COUNT_NEXT + 4
ROW_EXTRA_DATA = ROW_COUNT_NEXT + 5
ROW_WORDS = ROW_COUNT_NEXT + 6

NO_CHECK = -1
NO_LITERAL = -1

# A place in a signature: kind of memory above the low three bits of the register.
PLACE_BITS = 6
RESIDUE_BITS = 3

MEMORY_PAGE_BITS = 12
MEMORY_PAGE_BYTES = 1 << MEMORY_PAGE_BITS

PREDICTOR_ENTRIES = 4096  # power of two

MAX_ROWS = 1 << 15
HASH_SLOTS = 1 << 18  # power of two; a row is entered at most twice
