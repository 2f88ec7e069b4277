"""Loads and stores in every addressing mode."""

from tests.nucleosim.qemu.template import Template, unconditional

_SIZES = {"": 4, "h": 2, "b": 1}
_LOADS = {**_SIZES, "sh": 2, "sb": 1}


def _single(suffix: str, size: int, kind: str) -> tuple[Template, ...]:
    """Every addressing mode of one load or store of a word, halfword or byte."""
    name = kind + suffix
    low, high = ("<dl>", "<d>") if kind == "ldr" else ("<ml>", "<m>")
    texts = [
        f"{name} {low}, [<bl>, <xl>]",
        f"{name}.w {high}, [<b>, <x>]",
        f"{name}.w {high}, [<b>, #<o:0..4095>]",
        f"{name}.w {high}, [<b>, #<o:-255..-1>]",
        f"{name} {high}, [<b>, #<o:-255..255>]!",
        f"{name} {high}, [<b>], #<-255..255>",
    ]
    if not suffix.startswith("s"):
        texts.append(f"{name} {low}, [<bl>, #<o:0..{31 * size}:{size}>]")
    return tuple(Template(text, after=size) for text in texts)


SINGLE = (
    *(t for suffix, size in _LOADS.items() for t in _single(suffix, size, "ldr")),
    *(t for suffix, size in _SIZES.items() for t in _single(suffix, size, "str")),
    Template("(ldrt|ldrht|ldrbt|ldrsht|ldrsbt) <d>, [<b>, #<o:0..255>]", after=4),
    Template("(strt|strht|strbt) <m>, [<b>, #<o:0..255>]", after=4),
    Template("pld [<b>, #<o:0..4095>]", after=4),
)

# As compilers unroll a copy: one base, several accesses, aligned or not.
RUNS = (
    Template("ldr <d>, [<b:a>], #4; ldr <d>, [<b:a>], #4; str <m>, [<b:a>], #-8", after=12),
    Template("ldrsh.w <d>, [<b:a>], #2; ldrh <d>, [<b:a>, #-2]!; strb <m>, [<b:a>, #1]!", after=8),
    Template("ldrd <d>, <d>, [<b:a>], #8; ldrd <d>, <d>, [<b:a>, #-8]!", after=16, alignment=4),
    Template("adds <bl:a>, #4; ldrd <d>, <d>, [<bl:a>]; subs <bl:a>, #4", after=12, alignment=4),
)

MULTIPLE = (
    Template("ldrd <d>, <d>, [<b>, #<o:-1020..1020:4>](|!)", after=8, alignment=4),
    Template("ldrd <d>, <d>, [<b>], #<-1020..1020:4>", after=8, alignment=4),
    Template("strd <m>, <m>, [<b>, #<o:-1020..1020:4>](|!)", after=8, alignment=4),
    Template("strd <m>, <m>, [<b>], #<-1020..1020:4>", after=8, alignment=4),
    Template("ldmia <bl>!, {<dls:(1|2|3|5)>}", after=20, alignment=4),
    Template("stmia <bl>!, {<mls:(1|2|3|5)>}", after=20, alignment=4),
    Template("ldmia.w <b>(|!), {<ds:(2|4|7)>}", after=28, alignment=4),
    Template("ldmdb <b>(|!), {<ds:(2|4|7)>}", before=28, alignment=4),
    Template("stmia.w <b>(|!), {<ms:(2|4|7)>}", after=28, alignment=4),
    Template("stmdb <b>(|!), {<ms:(2|4|7)>}", before=28, alignment=4),
    # Its base is in the list: the 16-bit form that does not write it back.
    Template("ldmia.n <bl:a>, {<dls:2>, <bl:a>}", after=12, alignment=4),
)

EXCLUSIVE = (
    Template("ldrex <d>, [<b>, #<o:0..1020:4>]", after=4, alignment=4),
    Template("strex <d>, <m>, [<b>, #<o:0..1020:4>]", after=4, alignment=4),
    Template("ldrex <d>, [<b:a>]; strex <d>, <m>, [<b:a>]", after=4, alignment=4),
    Template("ldrex(h|b) <d>, [<b>]", after=4, alignment=4),
    Template("ldrexh <d>, [<b:a>]; strexh <d>, <m>, [<b:a>]", after=4, alignment=2),
    Template("ldrexb <d>, [<b:a>]; strexb <d>, <m>, [<b:a>]", after=4),
    Template("ldrex <d>, [<b:a>]; clrex; strex <d>, <m>, [<b:a>]", after=4, alignment=4),
)

# Stores to the stack go to a frame of their own: above it, a body's caller keeps what it saved.
_IN_FRAME = (
    "str <nl>, [sp, #<0..40:4>]",
    "str(|h|b).w <n>, [sp, #<0..40>]",
    "mov.w <d:i>, #<0..7>; str(|h|b).w <n>, [sp, <d:i>(|, lsl #2)]",
    "strd <n>, <n>, [sp, #<0..40:4>]; ldrh.w <d>, [sp, #<0..46>]",
    "vstr (<s>|<e>), [sp, #<0..40:4>]",
)

STACK = unconditional(
    "push {<nls:3>}; pop {<dls:3>}",
    "push {<nls:2>, lr}; pop {<dls:3>}",
    "push.w {<ns:4>}; pop.w {<ds:4>}",
    "str <n>, [sp, #-4]!; ldr <d>, [sp], #4",
    "stmdb sp!, {<ns:5>}; ldmia sp!, {<ds:5>}",
    "strd <n>, <n>, [sp, #-8]!; ldrd <d>, <d>, [sp], #8",
    *(f"sub sp, #48; {text}; add sp, #48" for text in _IN_FRAME),
    "sub.w sp, sp, #24; str <nl>, [sp]; addw sp, sp, #24",
    "ldr <dl>, [sp, #<0..40:4>]",
    "ldr(|h|b|sh|sb).w <d>, [sp, #<0..40>]",
    "mov.w <d:i>, #<0..7>; ldr(|h|b|sh|sb).w <d>, [sp, <d:i>(|, lsl #2)]",
    "ldrd <d>, <d>, [sp, #<0..40:4>]",
    "vldr (<s>|<e>), [sp, #<0..40:4>]",
)

LITERALS = unconditional(
    "ldr(|h|sh|b|sb).w <d>, <@pool>; b <@over>; .balign 4; <@pool>: .word <corner>; <@over>:",
    "b <@over>; .balign 4; <@pool>: .word <corner>; <@over>: ldr(|h|sh|b|sb).w <d>, <@pool>",
    "ldrd <d>, <d>, <@pool>; b <@over>; .balign 4; <@pool>: .word <corner>, <corner>; <@over>:",
)

MEMORY = (*SINGLE, *RUNS, *MULTIPLE, *EXCLUSIVE, *STACK, *LITERALS)
