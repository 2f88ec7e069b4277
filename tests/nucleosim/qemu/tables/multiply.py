"""Multiplications and accumulations, of words and of halfwords."""

from tests.nucleosim.qemu.template import plain, unconditional

MULTIPLY = (
    *unconditional("muls <dl:a>, <nl>, <dl:a>"),
    *plain(
        "mul <dl:a>, <nl>, <dl:a>",
        "mul <d>, <n>, <n>",
        "(mla|mls) <d>, <n>, <n>, <n>",
        "(smull|umull|smlal|umlal|umaal) <d>, <d>, <n>, <n>",
        "(smulbb|smulbt|smultb|smultt|smulwb|smulwt) <d>, <n>, <n>",
        "(smlabb|smlabt|smlatb|smlatt|smlawb|smlawt) <d>, <n>, <n>, <n>",
        "(smlalbb|smlalbt|smlaltb|smlaltt) <d>, <d>, <n>, <n>",
        "(smuad|smuadx|smusd|smusdx) <d>, <n>, <n>",
        "(smlad|smladx|smlsd|smlsdx) <d>, <n>, <n>, <n>",
        "(smlald|smlaldx|smlsld|smlsldx) <d>, <d>, <n>, <n>",
        "(smmul|smmulr) <d>, <n>, <n>",
        "(smmla|smmlar|smmls|smmlsr) <d>, <n>, <n>, <n>",
        "usad8 <d>, <n>, <n>",
        "usada8 <d>, <n>, <n>, <n>",
    ),
)
