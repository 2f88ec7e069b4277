"""Calls and pointers that numba has no words for: a C function by address, memory by address."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_WORD = ir.IntType(64)


def _call(builder, address, result, arguments):
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    pointer = builder.inttoptr(address, function_type.as_pointer())
    return builder.call(pointer, arguments)


@intrinsic
def call_1(typing_context, function, a):
    """Call `int f(int64)` at the address `function`; returns its 32-bit result."""

    def codegen(context, builder, signature, args):
        return _call(builder, args[0], ir.IntType(32), [args[1]])

    return types.int32(types.int64, types.int64), codegen


@intrinsic
def call_3(typing_context, function, a, b, c):
    """Call `int64 f(int64, int64, int64)` at the address `function`."""

    def codegen(context, builder, signature, args):
        return _call(builder, args[0], _WORD, list(args[1:]))

    return types.int64(types.int64, types.int64, types.int64, types.int64), codegen


@intrinsic
def read_register(typing_context, function, engine, register):
    """Call `uc_reg_read(engine, register, &value)` at the address `function`; returns the value."""

    def codegen(context, builder, signature, args):
        slot = cgutils.alloca_once_value(builder, ir.Constant(_WORD, 0))
        register = builder.trunc(args[2], ir.IntType(32))
        _call(builder, args[0], ir.IntType(32), [args[1], register, slot])
        return builder.and_(builder.load(slot), ir.Constant(_WORD, 0xFFFFFFFF))

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def pointer(typing_context, address):
    """The void pointer for an address, to be given to `numba.carray`."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen
