/* Rows of an activation, padded and widened to halves, in a ring as high as the kernel.
 *
 * Row r of the padded input lies in slot r % kernel_h, so a new row overwrites the one that the
 * window has just left.
 */
#ifndef LE_ROWS_H
#define LE_ROWS_H

#include <stdint.h>

#include "le_memory.h"
#include "le_unpack.h"

typedef struct {
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w;
    uint16_t kernel_h, kernel_w;
    uint8_t stride_h, stride_w;
    uint8_t pad_top, pad_left; /* the other two sides follow from out_h and out_w */
    uint8_t zero_point;        /* what a pixel in the padding holds               */
    uint16_t pixel_halves;     /* halves from one widened pixel to the next       */
    uint32_t row_halves;       /* halves from one slot of the ring to the next    */
} le_window;

/* Columns of the padded input that any window sees. */
LE_INLINE uint32_t le_columns(const le_window *window) {
    return (window->out_w - 1u) * window->stride_w + window->kernel_w;
}

/* The slot of row `row` of the padded input, and the slot of the row behind that in `slot`. */
LE_INLINE int16_t *le_slot(const le_window *window, int16_t *ring, uint32_t row) {
    return ring + row % window->kernel_h * window->row_halves;
}

LE_INLINE const int16_t *le_next_slot(const le_window *window, const int16_t *ring,
                                      const int16_t *slot) {
    slot += window->row_halves;
    return slot == ring + window->kernel_h * window->row_halves ? ring : slot;
}

/* Writes `count` halves of padding. */
LE_INLINE void le_fill_row(int16_t *to, int32_t value, uint32_t count) {
    const uint32_t both = le_pkhbt((uint32_t)value, (uint32_t)value, 16);
    for (; count >= 4; count -= 4) {
        le_store32(to, both);
        le_store32(to + 2, both);
        to += 4;
        LE_KEEP_LOOP(count);
    }
    le_fill16(to, value, count);
}

/* Widens row `row` of the padded input into its slot. */
LE_INLINE void le_widen_row(const le_window *window, int16_t *to, const uint8_t *in, uint32_t row,
                            unsigned storage) {
    const uint32_t columns = le_columns(window);
    const uint32_t halves = window->pixel_halves;
    const uint32_t pixel_bytes = le_pixel_bytes(window->in_c, storage);
    if (row < window->pad_top || row >= (uint32_t)window->pad_top + window->in_h) {
        le_fill_row(to, window->zero_point, columns * halves);
        return;
    }
    uint32_t left = window->pad_left < columns ? window->pad_left : columns;
    uint32_t inside = columns - left < window->in_w ? columns - left : window->in_w;
    le_fill_row(to, window->zero_point, left * halves);
    to += left * halves;
    in += (row - window->pad_top) * window->in_w * pixel_bytes;
    if (halves * storage == pixel_bytes * 8) {
        le_unpack_fields(to, in, inside * halves, storage); /* one run, gaps are fields too */
        to += inside * halves;
    } else {
        for (uint32_t x = 0; x < inside; ++x) {
            le_unpack_fields(to, in, window->in_c, storage);
            to += halves;
            in += pixel_bytes;
        }
    }
    le_fill_row(to, window->zero_point, (columns - left - inside) * halves);
}

/* Widens the rows from `widened` on that a window beginning at row `top` needs; returns the first
 * row that is not widened yet. */
LE_INLINE uint32_t le_widen_rows(const le_window *window, int16_t *ring, const uint8_t *in,
                                 uint32_t widened, uint32_t top, unsigned storage) {
    uint32_t end = top + window->kernel_h;
    for (uint32_t row = widened > top ? widened : top; row < end; ++row) {
        le_widen_row(window, le_slot(window, ring, row), in, row, storage);
    }
    return end;
}

#endif
