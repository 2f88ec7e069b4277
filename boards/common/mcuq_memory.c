/* The four functions that gcc may call on its own in freestanding code (GCC manual, "Language
 * Standards Supported by GCC"), so that no C library is linked and none matters. Words at any
 * address: single loads and stores of Armv7-M may be unaligned. */
#include <stddef.h>
#include <stdint.h>

/* gcc must not find memcpy in memcpy's own loop and call it. */
#pragma GCC optimize("no-tree-loop-distribute-patterns")

typedef uint32_t __attribute__((aligned(1), may_alias)) any_word;

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    for (; n >= 16; n -= 16, d += 16, s += 16) {
        const uint32_t w0 = ((const any_word *)s)[0];
        const uint32_t w1 = ((const any_word *)s)[1];
        const uint32_t w2 = ((const any_word *)s)[2];
        const uint32_t w3 = ((const any_word *)s)[3];
        ((any_word *)d)[0] = w0;
        ((any_word *)d)[1] = w1;
        ((any_word *)d)[2] = w2;
        ((any_word *)d)[3] = w3;
    }
    for (; n >= 4; n -= 4, d += 4, s += 4) {
        *(any_word *)d = *(const any_word *)s;
    }
    for (; n > 0; --n) {
        *d++ = *s++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    /* Downwards only where the ranges overlap so; the difference wraps when `to` is below. */
    if ((uint32_t)(d - s) >= n) {
        for (; n >= 4; n -= 4, d += 4, s += 4) {
            *(any_word *)d = *(const any_word *)s;
        }
        for (; n > 0; --n) {
            *d++ = *s++;
        }
        return to;
    }
    d += n;
    s += n;
    for (; n >= 4; n -= 4) {
        d -= 4;
        s -= 4;
        *(any_word *)d = *(const any_word *)s;
    }
    for (; n > 0; --n) {
        *--d = *--s;
    }
    return to;
}

void *memset(void *to, int value, size_t n)
{
    uint8_t *d = to;
    const uint32_t word = (uint8_t)value * 0x01010101U;
    for (; n >= 16; n -= 16, d += 16) {
        ((any_word *)d)[0] = word;
        ((any_word *)d)[1] = word;
        ((any_word *)d)[2] = word;
        ((any_word *)d)[3] = word;
    }
    for (; n > 0; --n) {
        *d++ = (uint8_t)word;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *p = a;
    const uint8_t *q = b;
    for (; n > 0; --n, ++p, ++q) {
        if (*p != *q) {
            return *p - *q;
        }
    }
    return 0;
}
