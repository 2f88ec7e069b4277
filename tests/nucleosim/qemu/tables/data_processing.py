"""Moves, arithmetic, logic, shifts, comparisons, bit fields, extension, saturation, division."""

from tests.nucleosim.qemu.template import plain, unconditional

_SHIFTED = "(|, lsl #<1..31>|, lsr #<1..32>|, asr #<1..32>|, ror #<1..31>|, rrx)"

NARROW = plain(
    "(add|sub)s? <dl>, <nl>, <nl>",
    "(add|sub)s? <dl>, <nl>, #<0..7>",
    "(add|sub)s? <dl:a>, <dl:a>, #<0..255>",
    "add <d:a>, <n>",
    "add <d:a>, sp, <d:a>",
    "mov <d>, <n>",
    "mov <d>, sp",
    "movs? <dl>, #<0..255>",
    "(and|eor|orr|bic|adc|sbc)s? <dl:a>, <nl>",
    "mvns? <dl>, <nl>",
    "rsbs? <dl>, <nl>, #0",
    "(lsl|lsr|asr|ror)s? <dl:a>, <nl>",
    "lsls? <dl>, <nl>, #<1..31>",
    "(lsr|asr)s? <dl>, <nl>, #<1..32>",
    "(tst|cmp|cmn) <nl>, <nl>",
    "cmp <nl>, #<0..255>",
    "cmp <n>, <n>",
    "cmp <n>, sp",
    "(sxtb|sxth|uxtb|uxth|rev|rev16|revsh) <dl>, <nl>",
    "add <dl>, sp, #<0..1020:4>",
    "nop",
)

WIDE = (
    *plain(
        f"(add|sub|adc|sbc|rsb|and|orr|eor|bic|orn)(s|).w <d>, <n>, <n>{_SHIFTED}",
        "(add|sub|adc|sbc|rsb|and|orr|eor|bic|orn)(s|).w <d>, <n>, #<modified>",
        "add(s|).w <d>, sp, #<modified>",
        "(add|sub)(s|).w <d>, sp, <n>(|, lsl #<1..31>)",
        f"mvn(s|).w <d>, <n>{_SHIFTED}",
        "(mov|mvn)(s|).w <d>, #<modified>",
        "mov(s|).w <d>, <n>",
        "(lsl|ror)(s|).w <d>, <n>, #<1..31>",
        "(lsr|asr)(s|).w <d>, <n>, #<1..32>",
        "rrx(s|) <d>, <n>",
        "(lsl|lsr|asr|ror)(s|).w <d>, <n>, <n>",
        f"(tst|teq|cmp|cmn).w <n>, <n>{_SHIFTED}",
        "(tst|teq|cmp|cmn).w <n>, #<modified>",
        "(addw|subw) <d>, <n>, #<0..4095>",
        "addw <d>, sp, #<0..4095>",
        "(movw|movt) <d>, #<0..65535>",
        "nop.w",
        "ldr <d>, =<corner>",
    ),
    *unconditional("adr(|.w) <dl>, <@over>; b <@over>; .balign 4; <@over>:"),
)

BITS = plain(
    "bfi <d>, <n>, #<field>",
    "bfc <d>, #<field>",
    "(sbfx|ubfx) <d>, <n>, #<field>",
    "(clz|rbit|rev.w|rev16.w|revsh.w) <d>, <n>",
    "pkhbt <d>, <n>, <n>(|, lsl #<1..31>)",
    "pkhtb <d>, <n>, <n>, asr #<1..32>",
    "(sxtb|sxth|uxtb|uxth|sxtb16|uxtb16)(|.w) <d>, <n>(|, ror #8|, ror #16|, ror #24)",
    "(sxtab|sxtah|uxtab|uxtah|sxtab16|uxtab16) <d>, <n>, <n>(|, ror #8|, ror #16|, ror #24)",
)

SATURATION = plain(
    "ssat <d>, #<1..32>, <n>(|, lsl #<1..31>|, asr #<1..31>)",
    "usat <d>, #<0..31>, <n>(|, lsl #<1..31>|, asr #<1..31>)",
    "ssat16 <d>, #<1..16>, <n>",
    "usat16 <d>, #<0..15>, <n>",
    "(qadd|qsub|qdadd|qdsub) <d>, <n>, <n>",
)

DIVISION = plain("(udiv|sdiv) <d>, <n>, <n>")

STATUS = (
    *plain("mrs <d>, APSR", "msr APSR_(nzcvq|g|nzcvqg), <n>", "(dmb|dsb)"),
    # Not in an IT block: see test_known_differences.py.
    *unconditional("isb"),
)

DATA_PROCESSING = (*NARROW, *WIDE, *BITS, *SATURATION, *DIVISION, *STATUS)
