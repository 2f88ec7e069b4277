/* Maps that exist in strips: some neighbouring rows at a time, for layers that run strip by strip.
 *
 * A layer adds rows below those of its output that are there. Of its input, the rows that the next
 * strip's windows see are kept: they move to the front, so that no row is computed twice.
 */
#ifndef LE_STRIPS_H
#define LE_STRIPS_H

#include <stdint.h>

#include "le_memory.h"

/* Rows `first` to `end` - 1 of a map. */
typedef struct {
    uint8_t *at;        /* of row `first`        */
    uint32_t row_bytes;
    int32_t height;     /* rows of the whole map */
    int32_t first, end;
} le_strip;

/* One call of a kernel: `out_h` output rows, and the `in_h` input rows that their windows see. */
typedef struct {
    const uint8_t *in;
    uint8_t *out;
    uint32_t in_h, out_h;
    uint32_t pad_top; /* rows of padding above the first input row */
    int32_t first;    /* number of the first output row            */
} le_strip_rows;

/* Where row `row` lies. */
LE_INLINE uint8_t *le_strip_row(const le_strip *strip, int32_t row) {
    return strip->at + (uint32_t)(row - strip->first) * strip->row_bytes;
}

/* An empty strip at the place of the rows that `strip` will get next: for a layer whose output the
 * next one replaces by its own, value by value. */
LE_INLINE le_strip le_strip_behind(const le_strip *strip) {
    le_strip behind = *strip;
    behind.at = le_strip_row(strip, strip->end);
    behind.first = strip->end;
    return behind;
}

/* An empty strip of `height` rows from row `first` on, each at the place of the row of `under` that
 * is `pad_top` above it: for a layer that writes over what it has read. */
LE_INLINE le_strip le_strip_over(const le_strip *under, int32_t height, int32_t first,
                                 int32_t pad_top) {
    le_strip over = *under;
    over.at += (first - pad_top - under->first) * (int32_t)under->row_bytes; /* may be negative */
    over.height = height;
    over.first = over.end = first;
    return over;
}

/* What it takes to write the rows of `out` up to `end`, by a kernel of `kernel_h` rows; returns 0
 * where these rows are there already. Counts them as written. */
LE_INLINE int le_strip_next(le_strip_rows *rows, const le_strip *in, le_strip *out, int32_t end,
                            int32_t kernel_h, int32_t stride_h, int32_t pad_top) {
    const int32_t first = out->end;
    end = end < out->height ? end : out->height;
    if (end <= first) {
        return 0;
    }
    const int32_t top = first * stride_h - pad_top;
    const int32_t bottom = (end - 1) * stride_h - pad_top + kernel_h;
    const int32_t in_first = top > 0 ? top : 0;
    const int32_t in_end = bottom < in->height ? bottom : in->height;
    rows->in = le_strip_row(in, in_first);
    rows->in_h = (uint32_t)(in_end - in_first);
    rows->pad_top = (uint32_t)(in_first - top);
    rows->out = le_strip_row(out, first);
    rows->out_h = (uint32_t)(end - first);
    rows->first = first;
    out->end = end;
    return 1;
}

/* Moves the rows from `first` on to the front; those above are gone. */
LE_INLINE void le_strip_keep(le_strip *strip, int32_t first) {
    first = first < strip->end ? first : strip->end;
    if (first <= strip->first) {
        return;
    }
    uint8_t *to = strip->at;
    const uint8_t *from = le_strip_row(strip, first);
    uint32_t bytes = (uint32_t)(strip->end - first) * strip->row_bytes;
    for (; bytes >= 16; bytes -= 16) {
        uint32_t a = le_load32(from), b = le_load32(from + 4);
        uint32_t c = le_load32(from + 8), d = le_load32(from + 12);
        LE_NOT_BEFORE_4(a, b, c, d);
        le_store32(to, a);
        le_store32(to + 4, b);
        le_store32(to + 8, c);
        le_store32(to + 12, d);
        from += 16;
        to += 16;
    }
    le_copy(to, from, bytes);
    strip->first = first;
}

#endif
