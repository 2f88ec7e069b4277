"""The FPU: single precision on both cores; double precision and FPv5's additions on the M7."""

from tests.nucleosim.qemu.template import Template, plain, unconditional

_THREE = "(vadd|vsub|vmul|vnmul|vdiv|vmla|vmls|vnmla|vnmls|vfma|vfms|vfnma|vfnms)"

SINGLE = (
    *plain(
        f"{_THREE}.f32 <s>, <s>, <s>",
        "(vabs|vneg|vsqrt|vmov).f32 <s>, <s>",
        "vmov.f32 <s>, #<float>",
        "(vcmp|vcmpe).f32 <s>, <s>",
        "(vcmp|vcmpe).f32 <s>, #0.0",
        "vmrs APSR_nzcv, fpscr",
        "vmrs <d>, fpscr",
        "(vcvt|vcvtr).(s32|u32).f32 <s>, <s>",
        "vcvt.f32.(s32|u32) <s>, <s>",
        "vcvt.(s16|u16).f32 <s:a>, <s:a>, #<1..16>",
        "vcvt.f32.(s16|u16) <s:a>, <s:a>, #<1..16>",
        "vcvt.(s32|u32).f32 <s:a>, <s:a>, #<1..32>",
        "(vcvtb|vcvtt).f16.f32 <s>, <s>",
        "(vcvtb|vcvtt).f32.f16 <s>, <s>",
        "vmov <s>, <n>",
        "vmov <d>, <s>",
        "vmov <d>, <d>, <e>",
        "vmov <e>, <n>, <n>",
        "vmov <ss:2>, <n>, <n>",
        "vmov <d>, <d>, <ss:2>",
    ),
    *unconditional(
        # At rounding to nearest only: see test_known_differences.py.
        "mov.w <d:a>, #0; vmsr fpscr, <d:a>; vcvt.f32.(s32|u32) <s:a>, <s:a>, #<1..32>",
        "ldr <d:a>, =<status>; vmsr fpscr, <d:a>",
        "(vcmp|vcmpe).f32 <s>, <s>; vmrs APSR_nzcv, fpscr",
        "vldr <s>, <@pool>; b <@over>; .balign 4; <@pool>: .word <corner>; <@over>:",
        "vldr <e>, <@pool>; b <@over>; .balign 4; <@pool>: .word <corner>, <corner>; <@over>:",
        *(f"vpush {{<ss:{n}>}}; vpop {{<ss:{n}>}}" for n in (1, 3, 6)),
        "vpush {<es:2>}; vpop {<es:2>}",
    ),
)
ACCESSES = (
    Template("vldr <s>, [<b>, #<o:-1020..1020:4>]", after=4, alignment=4),
    Template("vstr <s>, [<b>, #<o:-1020..1020:4>]", after=4, alignment=4),
    Template("vldr <e>, [<b>, #<o:-1020..1020:4>]", after=8, alignment=4),
    Template("vstr <e>, [<b>, #<o:-1020..1020:4>]", after=8, alignment=4),
    Template("(vldmia|vstmia) <b>(|!), {<ss:(1|4|9)>}", after=36, alignment=4),
    Template("(vldmdb|vstmdb) <b>!, {<ss:(1|4|9)>}", before=36, alignment=4),
    Template("(vldmia|vstmia) <b>(|!), {<es:(1|3)>}", after=24, alignment=4),
    Template("(vldmdb|vstmdb) <b>!, {<es:(1|3)>}", before=24, alignment=4),
)

FLOATING_POINT = (*SINGLE, *ACCESSES)

_ROUNDINGS = "(vrinta|vrintn|vrintp|vrintm)"
_CONVERSIONS = "(vcvta|vcvtn|vcvtp|vcvtm)"

DOUBLE = (
    *plain(
        f"{_THREE}.f64 <e>, <e>, <e>",
        "(vabs|vneg|vsqrt|vmov).f64 <e>, <e>",
        "vmov.f64 <e>, #<float>",
        "(vcmp|vcmpe).f64 <e>, <e>",
        "(vcmp|vcmpe).f64 <e>, #0.0",
        "(vcvt|vcvtr).(s32|u32).f64 <s>, <e>",
        "vcvt.f64.(s32|u32) <e>, <s>",
        "vcvt.f64.f32 <e>, <s>",
        "vcvt.f32.f64 <s>, <e>",
        "vcvt.(s16|u16).f64 <e:a>, <e:a>, #<1..16>",
        "vcvt.f64.(s16|u16) <e:a>, <e:a>, #<1..16>",
        "vcvt.(s32|u32).f64 <e:a>, <e:a>, #<1..32>",
        "vcvt.f64.(s32|u32) <e:a>, <e:a>, #<1..32>",
        "(vcvtb|vcvtt).f16.f64 <s>, <e>",
        "(vcvtb|vcvtt).f64.f16 <e>, <s>",
        # The assembler has these for an FPU of double precision only.
        "vmov.32 <e>[(0|1)], <n>",
        "vmov.32 <d>, <e>[(0|1)]",
        "(vrintz|vrintr|vrintx).f32 <s>, <s>",
        "(vrintz|vrintr|vrintx).f64 <e>, <e>",
    ),
    *unconditional(
        f"{_ROUNDINGS}.f32 <s>, <s>",
        f"{_ROUNDINGS}.f64 <e>, <e>",
        f"{_CONVERSIONS}.(s32|u32).f32 <s>, <s>",
        f"{_CONVERSIONS}.(s32|u32).f64 <s>, <e>",
        "(vseleq|vselge|vselgt|vselvs).f32 <s>, <s>, <s>",
        "(vseleq|vselge|vselgt|vselvs).f64 <e>, <e>, <e>",
        "(vmaxnm|vminnm).f32 <s>, <s>, <s>",
        "(vmaxnm|vminnm).f64 <e>, <e>, <e>",
        "(vcmp|vcmpe).f64 <e>, <e>; vmrs APSR_nzcv, fpscr",
    ),
)
