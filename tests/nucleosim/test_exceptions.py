"""Faults and calls: status registers, stacked frames, escalation, lockup, vector catch."""

import pytest
from pyocd.core.target import Target

IACCVIOL = 1 << 0
PRECISERR, IMPRECISERR, IBUSERR, STKERR, BFARVALID = 1 << 9, 1 << 10, 1 << 8, 1 << 12, 1 << 15
UNDEFINSTR, INVSTATE, NOCP, UNALIGNED = 1 << 16, 1 << 17, 1 << 19, 1 << 24
DIVBYZERO = 1 << 25
FORCED = 1 << 30
HARD_FAULT, BUS_FAULT, USAGE_FAULT = 3, 5, 6

FAULTS = {
    "read": (
        '__asm volatile("culprit: ldr r0, [%0]" :: "r"(0x60000000) : "r0");',
        PRECISERR | BFARVALID,
        0x60000000,
    ),
    "undefined": ('__asm volatile("culprit: udf #1");', UNDEFINSTR, None),
    "fpu off": ('__asm volatile("culprit: vadd.f32 s0, s0, s0");', NOCP, None),
    "arm state": (
        '__asm volatile("mov r0, %0\\n bx r0\\n culprit: nop" :: "r"(0x08000100) : "r0");',
        INVSTATE,
        None,
    ),
    "unaligned ldrd": (
        '__asm volatile("culprit: ldrd r0, r1, [%0]" :: "r"(0x20000102) : "r0", "r1");',
        UNALIGNED,
        None,
    ),
    "unaligned ldm": (
        '__asm volatile("culprit: ldm %0, {r0, r1}" :: "r"(0x20000101) : "r0", "r1");',
        UNALIGNED,
        None,
    ),
    "unaligned stm": ('__asm volatile("culprit: stm %0!, {r0, r1}" : "+r"(p));', UNALIGNED, None),
}


def image_of(statement: str, enable: str = "") -> str:
    return f"""
        int main(void) {{
          register uint32_t p __asm("r4") = 0x20000103;
          (void)p;
          {enable}
          {statement}
          return 0;
        }}"""


@pytest.mark.parametrize("name", FAULTS)
def test_fault_reaches_the_hard_fault_handler(bench, build_image, name):
    statement, cfsr, bfar = FAULTS[name]
    bench.flash(build_image(image_of(statement)))
    assert bench.run() is Target.State.HALTED
    record = bench.read("fault_record", 12)
    assert record[0] == HARD_FAULT
    assert record[1] == cfsr
    assert record[2] == FORCED
    if bfar is not None:
        assert record[3] == bfar
    if name != "arm state":
        assert record[10] == bench.symbol("culprit")
    assert record[11] & 0x1FF == 0  # stacked xPSR: thread mode


def test_enabled_fault_has_its_own_handler(bench, build_image):
    bench.flash(build_image(image_of(FAULTS["undefined"][0], "SHCSR = 7u << 16;")))
    bench.run()
    assert bench.read("fault_record", 3) == [USAGE_FAULT, UNDEFINSTR, 0]
    bench.flash(build_image(image_of(FAULTS["read"][0], "SHCSR = 7u << 16;")))
    bench.run()
    assert bench.read("fault_record", 3) == [BUS_FAULT, PRECISERR | BFARVALID, 0]


def test_buffered_write_faults_imprecisely(bench, build_image):
    store = '__asm volatile("culprit: str %0, [%0]\\n after: nop" :: "r"(0x60000000));'
    bench.flash(build_image(image_of(store)))
    bench.run()
    record = bench.read("fault_record", 12)
    assert record[1:3] == [IMPRECISERR, FORCED]
    assert record[10] == bench.symbol("after")
    # ACTLR.DISDEFWBUF turns the write buffer off.
    bench.flash(build_image(image_of(store, "REG(0xE000E008) = 2;")))
    bench.run()
    record = bench.read("fault_record", 12)
    assert record[1] == PRECISERR | BFARVALID
    assert record[3] == 0x60000000
    assert record[10] == bench.symbol("culprit")


def test_division_by_zero(bench, build_image):
    divide = '__asm volatile("culprit: udiv r0, r0, %0" :: "r"(0) : "r0");'
    bench.flash(build_image(image_of(divide)))
    bench.run()
    assert bench.read("fault_record") == [0]
    bench.flash(build_image(image_of(divide, "REG(0xE000ED14) |= 1u << 4;")))
    bench.run()
    record = bench.read("fault_record", 12)
    assert record[:3] == [HARD_FAULT, DIVBYZERO, FORCED]
    assert record[10] == bench.symbol("culprit")


@pytest.mark.parametrize(
    ("address", "cfsr"),
    [(0x60000000, IBUSERR), (0x20100000, IBUSERR), (0x40000000, IACCVIOL), (0xE000E000, IACCVIOL)],
)
def test_fetch_fault(bench, build_image, address, cfsr):
    bench.flash(build_image(image_of(f'__asm volatile("bx %0" :: "r"({address | 1:#x}));')))
    bench.run()
    record = bench.read("fault_record", 12)
    assert record[1] == cfsr
    assert record[10] == address


def test_aligned_and_skipped_accesses_do_not_fault(bench, build_image):
    source = """
        volatile uint32_t done, words[4];
        int main(void) {
          done = 0;
          __asm volatile(
              "ldrd r0, r1, [%0]\\n ldm %0, {r0, r1}\\n adds r2, %0, #2\\n ldr r3, [r2]\\n"
              "cmp %0, #0\\n it eq\\n ldrdeq r0, r1, [r2]\\n"
              :: "r"(words) : "r0", "r1", "r2", "r3", "cc");
          done = 1;
          return 0;
        }"""
    bench.flash(build_image(source))
    bench.run()
    assert bench.read("done") == [1]
    assert bench.read("fault_record") == [0]


def test_loop_that_becomes_unaligned_faults(bench, build_image):
    source = """
        volatile uint32_t passes;
        int main(void) {
          passes = 0;
          const char *p = (const char *)0x20001000;
          for (int i = 0; i < 100; i++) {
            __asm volatile("ldrd r0, r1, [%0]" :: "r"(p) : "r0", "r1");
            passes = passes + 1;
            p += i == 20 ? 6 : 8;
          }
          return 0;
        }"""
    bench.flash(build_image(source))
    bench.run()
    assert bench.read("passes") == [21]
    assert bench.read("fault_record", 2) == [HARD_FAULT, UNALIGNED]


def test_supervisor_call_returns(bench, build_image):
    source = """
        volatile uint32_t argument, exception;
        void SVC_Handler(void) {
          uint32_t number;
          __asm volatile("mrs %0, ipsr" : "=r"(number));
          exception = number;
          argument = argument + 1;
        }
        int main(void) {
          argument = 41;
          __asm volatile("svc 7");
          return argument;
        }"""
    bench.flash(build_image(source))
    assert bench.run() is Target.State.HALTED
    assert bench.read("argument") == [42]
    assert bench.read("exception") == [11]
    assert bench.target.read_core_register("ipsr") == 0
    assert bench.target.read_core_register("r0") == 42


def test_pending_exception_is_taken_when_it_may(bench, build_image):
    source = """
        volatile uint32_t count, before;
        void PendSV_Handler(void) { count = count + 1; }
        int main(void) {
          count = 0;
          __asm volatile("cpsid i");
          ICSR = 1u << 28;
          __asm volatile("isb");
          before = count;
          __asm volatile("cpsie i\\n isb");
          return 0;
        }"""
    bench.flash(build_image(source))
    assert bench.run() is Target.State.HALTED
    assert bench.read("before") == [0]
    assert bench.read("count") == [1]


def test_exception_keeps_floating_point_registers(bench, build_image):
    source = """
        volatile float sum;
        void SVC_Handler(void) { __asm volatile("vmov s1, r0" ::: "s1"); }
        int main(void) {
          CPACR = 0xFu << 20;
          __asm volatile("dsb\\nisb");
          float x = 1.5f, y;
          __asm volatile("vmov s1, %1\\n svc 0\\n vmov %0, s1" : "=r"(y) : "r"(x) : "s1");
          sum = y;
          return 0;
        }"""
    bench.flash(build_image(source))
    assert bench.run() is Target.State.HALTED
    assert bench.read("sum") == [0x3FC00000]


def test_fault_in_the_handler_locks_up(bench, build_image):
    source = """
        void Fault_Handler(void) { __asm volatile("udf #2"); }
        int main(void) { __asm volatile("udf #1"); return 0; }"""
    bench.flash(build_image(source))
    assert bench.run() is Target.State.LOCKUP
    bench.target.halt()
    assert bench.target.get_state() is Target.State.HALTED
    bench.target.reset_and_halt()
    assert bench.target.read_core_register("pc") == bench.symbol("Reset_Handler")


def test_stack_outside_memory_is_a_stacking_error(bench, build_image):
    source = """
        int main(void) {
          __asm volatile("msr msp, %0\\n udf #1" :: "r"(0x10000000));
          return 0;
        }"""
    bench.flash(build_image(source))
    bench.run()
    assert bench.target.read32(0xE000ED28) & STKERR


def test_vector_catch_stops_at_the_handler(bench, build_image):
    bench.flash(build_image(image_of(FAULTS["undefined"][0])))
    bench.target.set_vector_catch(Target.VectorCatch.HARD_FAULT)
    assert bench.run() is Target.State.HALTED
    assert bench.target.get_halt_reason() is Target.HaltReason.VECTOR_CATCH
    assert bench.target.read_core_register("pc") == bench.symbol("Fault_Handler")
    assert bench.target.read_core_register("ipsr") == HARD_FAULT
