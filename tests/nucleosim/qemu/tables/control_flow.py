"""Branches, loops, table branches, calls and returns."""

from tests.nucleosim.qemu.template import unconditional

CONDITIONS = ("eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
_ANY = "|".join(CONDITIONS)

BRANCHES = unconditional(
    f"b({_ANY}) <@over>; <body>; <@over>:",
    f"b({_ANY}).w <@over>; <body>; <@over>:",
    f"b({_ANY}) <@else>; <body>; b(|.w) <@over>; <@else>: <body>; <@over>:",
    "(cbz|cbnz) <nl>, <@over>; <body>; <@over>:",
    *(f"it {c}; b{c}(|.w) <@over>; <body>; <@over>:" for c in CONDITIONS),
)

LOOPS = unconditional(
    "movs <cl:a>, #<1..4>; <@again>: <body>; subs <cl:a>, #1; bne <@again>",
    "mov.w <c:a>, #<1..4>; <@again>: <body>; subs.w <c:a>, <c:a>, #1; bgt.w <@again>",
    "movs <cl:a>, #<1..3>; b <@test>; <@again>: <body>; <@test>: subs <cl:a>, #1; bpl <@again>",
    "movs <cl:a>, #<1..3>; <@again>: <body>; sub.w <cl:a>, <cl:a>, #1; cbz <cl:a>, <@over>;"
    " b <@again>; <@over>:",
)

_ROWS = "; <@a>: <body>; b <@c>; <@b>: <body>; <@c>:"

TABLES = unconditional(
    "mov.w <d:i>, #<0..2>; tbb [pc, <d:i>]; <@t>: .byte (<@a> - <@t>) / 2, (<@b> - <@t>) / 2,"
    f" (<@c> - <@t>) / 2; .balign 2{_ROWS}",
    "mov.w <d:i>, #<0..2>; tbh [pc, <d:i>, lsl #1]; <@t>: .short (<@a> - <@t>) / 2,"
    f" (<@b> - <@t>) / 2, (<@c> - <@t>) / 2{_ROWS}",
    "adr.w <d:i>, <@t>; mov.w <d:j>, #<0..2>; tbb [<d:i>, <d:j>]; <@p>: <body>; b <@c>;"
    " .balign 4; <@t>: .byte (<@a> - <@p>) / 2, (<@b> - <@p>) / 2, (<@c> - <@p>) / 2;"
    f" .balign 2{_ROWS}",
)

_CALLEE = "; b <@over>; <@f>: "

CALLS = unconditional(
    f"bl <@f>{_CALLEE}<leaf>; bx lr; <@over>:",
    f"bl <@f>{_CALLEE}<leaf>; mov pc, lr; <@over>:",
    f"ldr <d:a>, =<@f> + 1; blx <d:a>{_CALLEE}<leaf>; bx lr; <@over>:",
    f"bl <@f>{_CALLEE}push {{<nls:2>, lr}}; <body>; pop {{<dls:2>, pc}}; <@over>:",
    f"bl <@f>{_CALLEE}push.w {{<ns:4>, lr}}; <body>; pop.w {{<ds:4>, pc}}; <@over>:",
    f"bl <@f>{_CALLEE}stmdb sp!, {{<ns:3>, lr}}; <body>; ldmia.w sp!, {{<ds:3>, pc}}; <@over>:",
    f"bl <@f>{_CALLEE}str lr, [sp, #-4]!; <body>; ldr pc, [sp], #4; <@over>:",
    *(f"bl <@f>{_CALLEE}<leaf>; it {c}; bx{c} lr; <leaf>; bx lr; <@over>:" for c in CONDITIONS),
    *(
        f"bl <@f>{_CALLEE}push {{<nls:2>, lr}}; <body>; it {c}; pop{c} {{<dls:2>, pc}}; <body>;"
        " pop {<dls:2>, pc}; <@over>:"
        for c in ("eq", "ge", "hi")
    ),
)

CONTROL_FLOW = (*BRANCHES, *LOOPS, *TABLES, *CALLS)
