/* Convolutions in little code: one loop for all windows, strides and segments.
 *
 * m pixels of a row that are stride_w apart share a word, sum a[i] z^i with z = 2^s, and up to
 * three taps another, sum w[j] z^(2-j); their product has m + 2 fields of s bits, of which the last
 * two belong to the next block's pixels. Columns are `phases` rows of their own: a window of stride
 * 2 has its even columns in one of them, its odd ones in the other.
 *
 * Scratch holds the packed pixels of a band of rows, [block][row][phase][channel]: a window's words
 * lie side by side, whatever its height, and those of the window below it stride_h rows on. Weights
 * are [step][two channels]; a step is one word of pixels. A tile is two rows x two channels x one
 * block. At the end of each segment of steps the fields are added to a line of sums, [position][two
 * channels], the upper row's in lower halves, the lower row's in upper ones, from where they are
 * requantized: neither carries nor segments need code.
 *
 * All fields of all channels and segments begin with the same numbers, `start`; what a channel has
 * to begin with instead is in its `first` sum.
 */
#ifndef LE_COMPACT_H
#define LE_COMPACT_H

#include <stdint.h>

#include "le_column.h"
#include "le_memory.h"
#include "le_requantize.h"

/* One row of columns that are stride_w apart. */
typedef struct {
    int8_t column; /* of its first pixel in the input                        */
    uint8_t taps;  /* 1..3                                                    */
    uint8_t place; /* of the last tap, in fields                              */
} le_compact_phase;

/* One layer; sizes in pixels, channels, steps. */
typedef struct {
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint8_t kernel_h, stride_h, stride_w;
    uint8_t pad_top, zero_point;
    uint8_t phases;             /* 1 or 2                                              */
    uint8_t skipped;            /* positions of the line in front of the first output  */
    uint8_t segments;
    uint16_t segment_steps;     /* whole rounds of the inner loop                      */
    uint16_t blocks;            /* of m pixels in a packed row                         */
    uint16_t band;              /* output rows whose pixels are packed at once, even   */
    le_compact_phase phase[2];
    uint32_t tile_bytes;        /* weights of two channels in flash                    */
    uint32_t start[2];          /* of an accumulator, the lower word first             */
    uint32_t carried[2];        /* what the block in front of the first one hands on   */
    const uint8_t *weights;     /* see le_compact_unpack                               */
    const int32_t *multipliers; /* of the channels, an even number                     */
    le_column offsets, firsts;
} le_compact_layer;

/* One call of the inner loops: all blocks of two rows and two channels. The order of the fields is
 * that of the registers s0 to s9 in the assembly. */
typedef struct {
    uint32_t start[2];
    const uint32_t *w;
    const uint32_t *w_end;
    uint32_t segment_bytes; /* of weights                              */
    const uint32_t *a;      /* the upper window's words of block 0     */
    uint32_t block_bytes;
    uint32_t row_bytes;     /* from the upper to the lower window      */
    uint32_t *line;         /* sums, [position][two channels]          */
    uint32_t *line_end;     /* the sums behind those of the last block */
} le_compact_call;

/* The assembly needs the DSP extension, registers of a floating-point unit, and Thumb. */
#if LE_ARM_DSP && defined(__ARM_FP) && defined(__thumb2__)
#define LE_COMPACT_ASSEMBLY 1
_Static_assert(sizeof(le_compact_call) == 40, "as the assembly has it");
#else
#define LE_COMPACT_ASSEMBLY 0
#endif

/* The inner loops in plain C: what the assembly computes, and its oracle. */
LE_INLINE void le_compact_sums(const le_compact_call *call, unsigned pixels, unsigned shift) {
    const uint32_t mask = (1u << shift) - 1u;
    const uint32_t *a = call->a;
    for (uint32_t *line = call->line; line != call->line_end; line += 2 * pixels) {
        const uint32_t *from = a, *w = call->w;
        while (w != call->w_end) {
            const uint32_t *end = w + call->segment_bytes / 4;
            uint64_t sums[4];
            for (unsigned i = 0; i < 4; ++i) {
                sums[i] = call->start[0] | (uint64_t)call->start[1] << 32;
            }
            for (; w != end; w += 2) {
                for (unsigned i = 0; i < 4; ++i) {
                    int64_t pixel = (int32_t)from[i % 2 * call->row_bytes / 4];
                    sums[i] += (uint64_t)(pixel * (int32_t)w[i / 2]);
                }
                ++from;
            }
            for (unsigned i = 0; i < 4; ++i) {
                for (unsigned field = 0; field < pixels + 2; ++field) {
                    uint32_t value = (uint32_t)(sums[i] >> (field * shift));
                    value = field == pixels + 1 ? value : value & mask;
                    line[2 * field + i / 2] += value << 16 * (i % 2);
                }
            }
        }
        a += call->block_bytes / 4;
    }
}

/* Packs the channels of one block's pixels, whose addresses are `from`. */
LE_INLINE void le_compact_pack_block(uint32_t *to, const uint8_t **from, uint32_t channels,
                                     unsigned storage, unsigned pixels, unsigned shift) {
    const unsigned group = 32 / storage;
    const uint32_t field = (1u << storage) - 1u;
    uint32_t words[4] = {0, 0, 0, 0};
    for (; channels >= group; channels -= group) {
#pragma GCC unroll 4
        for (unsigned i = 0; i < pixels; ++i) {
            words[i] = le_load32(from[i]);
            from[i] += 4;
        }
#pragma GCC unroll 16
        for (unsigned k = 0; k < group; ++k) {
            uint32_t word = 0;
#pragma GCC unroll 4
            for (unsigned i = 0; i < pixels; ++i) {
                word |= (words[i] >> (k * storage) & field) << (i * shift);
            }
            le_store_alone(to + k, word);
        }
        to += group;
    }
    for (uint32_t k = 0; k < channels; ++k) {
        uint32_t word = 0;
#pragma GCC unroll 4
        for (unsigned i = 0; i < pixels; ++i) {
            word |= le_get_field(from[i], k, storage) << (i * shift);
        }
        *to++ = word;
        LE_KEEP_LOOP(k);
    }
}

/* Packs `rows` rows of pixels from row `top` of the input on, which may lie outside. */
LE_INLINE void le_compact_pack(const le_compact_layer *layer, uint32_t *to, const uint8_t *in,
                               const uint8_t *pad, uint32_t top, uint32_t rows, unsigned storage,
                               unsigned pixels, unsigned shift) {
    const uint32_t pixel_bytes = le_pixel_bytes(layer->in_c, storage);
    const uint32_t row_bytes = layer->in_w * pixel_bytes;
    const uint32_t row_words = layer->phases * layer->in_c;
    for (uint32_t block = 0; block < layer->blocks; ++block) {
        for (uint32_t phase = 0; phase < layer->phases; ++phase) {
            uint32_t x = block * pixels * layer->stride_w + (uint32_t)layer->phase[phase].column;
            const uint8_t *column[4]; /* of its first row, or 0 in the padding */
#pragma GCC unroll 4
            for (unsigned i = 0; i < pixels; ++i) {
                column[i] = x < layer->in_w ? in + x * pixel_bytes : 0;
                x += layer->stride_w;
            }
            uint32_t *row = to + phase * layer->in_c;
            for (uint32_t y = top; y != top + rows; ++y) {
                const uint32_t offset = y * row_bytes;
                const uint8_t *from[4];
#pragma GCC unroll 4
                for (unsigned i = 0; i < pixels; ++i) {
                    from[i] = column[i] != 0 && y < layer->in_h ? column[i] + offset : pad;
                }
                le_compact_pack_block(row, from, layer->in_c, storage, pixels, shift);
                row += row_words;
            }
        }
        to += rows * row_words;
    }
}

/* Unpacks the weights of two channels.
 *
 * In flash they are one stream, [row of the window][phase][input channel][channel][tap], last taps
 * first, of fields that hold w + 2^(w_bits-1). */
LE_INLINE void le_compact_unpack(const le_compact_layer *layer, uint32_t *to, const uint32_t *end,
                                 const uint8_t *from, unsigned w_bits, unsigned shift) {
    const uint32_t field = (1u << w_bits) - 1u, half = 1u << (w_bits - 1);
    uint32_t bit = 0; /* of the stream, within a byte: none for a whole number of bytes a step */
    for (uint32_t row = 0; row < layer->kernel_h; ++row) {
        for (uint32_t i = 0; i < layer->phases; ++i) {
            const le_compact_phase *phase = layer->phase + i;
            const uint32_t bits = phase->taps * w_bits, place = phase->place * shift;
            uint32_t second = 0, third = 0; /* masks of the taps that there are */
            uint32_t surplus = half;
            if (phase->taps > 1) {
                second = field << w_bits;
                surplus += half << shift;
            }
            if (phase->taps > 2) {
                third = field << 2 * w_bits;
                surplus += half << 2 * shift;
            }
            const uint32_t *step_end = to + 2 * layer->in_c;
            do {
                uint32_t stream = le_load32(from) >> bit;
                bit += 2 * bits;
                from += bit / 8;
                bit = 2 * w_bits % 8 == 0 ? 0 : bit % 8;
#pragma GCC unroll 2
                for (unsigned k = 0; k < 2; ++k) {
                    uint32_t word = (stream & field) - surplus;
                    word += (stream & second) << (shift - w_bits);
                    word += (stream & third) << 2 * (shift - w_bits);
                    le_store_alone(to + k, word << place);
                    stream >>= bits;
                }
                to += 2;
            } while (to != step_end);
        }
    }
    while (to != end) {
        *to++ = 0;
        LE_KEEP_LOOP(to);
    }
}

/* Sets the sums of two channels in both rows to what they begin with. */
LE_INLINE void le_compact_first(const le_compact_layer *layer, const le_compact_call *call,
                                uint32_t channel) {
    const uint32_t both_rows = 0x00010001u;
    const uint32_t first = (uint32_t)le_column_value(&layer->firsts, channel) * both_rows;
    const uint32_t second = (uint32_t)le_column_value(&layer->firsts, channel + 1) * both_rows;
    uint32_t *line = call->line;
    do {
        le_store_alone(line, first);
        le_store_alone(line + 1, second);
        line += 2;
        LE_KEEP_LOOP(line);
    } while (line <= call->line_end);
    line = call->line; /* two positions have a block in front of the first one */
    for (uint32_t i = 0; i < 4; ++i) {
        line[i] += layer->carried[i / 2] * both_rows;
        LE_KEEP_LOOP(i);
    }
}

/* Writes two channels of a pixel, `channel` (even) and the next one if there are `two`. */
LE_INLINE void le_compact_put(uint8_t *pixel, uint32_t channel, unsigned storage, uint32_t low,
                              uint32_t high, int two) {
    const uint32_t pair = low | high << storage;
    pixel += channel * storage / 8;
    if (storage == 8) {
        pixel[0] = (uint8_t)low;
        if (two) {
            pixel[1] = (uint8_t)high;
        }
    } else if (storage == 4) {
        pixel[0] = (uint8_t)pair;
    } else if (channel & 2) {
        pixel[0] = (uint8_t)((pixel[0] & 0xFu) | pair << 4);
    } else {
        pixel[0] = (uint8_t)pair;
    }
}

/* The upper half of a word of sums, pre-shifted. */
LE_INLINE uint32_t le_compact_upper(uint32_t word, uint32_t mask, unsigned pre_shift) {
    return (pre_shift <= 16 ? word >> (16 - pre_shift) : word >> 16 << pre_shift) & mask;
}

/* Outputs of channels `channel` and up in two rows, whose sums begin at `sums`; both rows may be
 * the same one, which is the upper one then. */
LE_INLINE void le_compact_outputs(const le_compact_layer *layer, const uint32_t *sums,
                                  uint8_t *upper, uint8_t *lower, uint32_t channel,
                                  unsigned out_bits, unsigned pre_shift, unsigned out_shift) {
    const unsigned storage = le_storage_bits(out_bits);
    const uint32_t pixel_bytes = le_pixel_bytes(layer->out_c, storage);
    const int32_t m0 = layer->multipliers[channel], m1 = layer->multipliers[channel + 1];
    const int32_t offset0 = le_column_value(&layer->offsets, channel);
    const int32_t offset1 = le_column_value(&layer->offsets, channel + 1);
    const int two = channel + 1 < layer->out_c;
    const uint8_t *end = upper + layer->out_w * pixel_bytes;
    uint32_t mask = 0xFFFFu << pre_shift; /* of a pre-shifted sum */
    LE_IN_REGISTER(mask);
    do {
        const uint32_t first = sums[0], second = sums[1];
        uint32_t y[4] = {
            le_compact_upper(first, mask, pre_shift), le_compact_upper(second, mask, pre_shift),
            first << pre_shift & mask, second << pre_shift & mask};
#pragma GCC unroll 4
        for (unsigned i = 0; i < 4; ++i) {
            y[i] = le_requantize_const((int32_t)y[i], i % 2 ? m1 : m0, i % 2 ? offset1 : offset0, 0,
                                       out_shift, out_bits);
        }
        le_compact_put(lower, channel, storage, y[0], y[1], two);
        le_compact_put(upper, channel, storage, y[2], y[3], two);
        lower += pixel_bytes;
        upper += pixel_bytes;
        sums += 2;
    } while (upper != end);
}

/* The whole layer. `in` and `out` may be the same address where each band's outputs take no more
 * bytes than the inputs that no later band reads. */
LE_INLINE void le_compact(const le_compact_layer *layer, const uint8_t *in, uint8_t *out,
                          uint8_t *scratch, void (*sums)(const le_compact_call *), unsigned w_bits,
                          unsigned storage, unsigned pixels, unsigned shift, unsigned out_bits,
                          unsigned pre_shift, unsigned out_shift) {
    const uint32_t row_words = layer->phases * layer->in_c; /* of one block */
    const uint32_t window_words = layer->kernel_h * row_words;
    const uint32_t steps = layer->segments * layer->segment_steps;
    const uint32_t row_bytes =
        layer->out_w * le_pixel_bytes(layer->out_c, le_storage_bits(out_bits));
    uint32_t *line = (uint32_t *)(void *)scratch;
    uint32_t *w = line + 2 * (layer->blocks * pixels + 2);
    uint32_t *a = w + 2 * steps;
    le_compact_call call = {
        .start = {layer->start[0], layer->start[1]},
        .w = w,
        .w_end = a,
        .segment_bytes = 8u * layer->segment_steps,
        .row_bytes = 4 * layer->stride_h * row_words,
        .line = line,
        .line_end = line + 2 * layer->blocks * pixels,
    };
    for (uint32_t first = 0; first < layer->out_h; first += layer->band) {
        uint32_t count = layer->out_h - first < layer->band ? layer->out_h - first : layer->band;
        /* The last pair of rows is packed whole. */
        uint32_t rows = ((count - 1) | 1) * layer->stride_h + layer->kernel_h;
        /* Behind the packed pixels products with weights of 0 read some words of anything. */
        uint8_t *pad = (uint8_t *)(a + layer->blocks * rows * row_words + steps - window_words);
        for (uint32_t i = le_pixel_bytes(layer->in_c, storage); i-- != 0;) {
            pad[i] = (uint8_t)(layer->zero_point * (0xFFu / ((1u << storage) - 1u)));
            LE_KEEP_LOOP(i);
        }
        le_compact_pack(layer, a, in, pad, first * layer->stride_h - layer->pad_top, rows, storage,
                        pixels, shift);
        call.block_bytes = 4 * rows * row_words;
        const uint8_t *weights = layer->weights;
        for (uint32_t channel = 0; channel < layer->out_c; channel += 2) {
            le_compact_unpack(layer, w, a, weights, w_bits, shift);
            weights += layer->tile_bytes;
            call.a = a;
            for (uint32_t y = first; y < first + count; y += 2) {
                le_compact_first(layer, &call, channel);
                sums(&call);
                call.a += 2 * layer->stride_h * row_words;
                uint8_t *to = out + y * row_bytes;
                le_compact_outputs(layer, line + 2 * layer->skipped, to,
                                   y + 1 < layer->out_h ? to + row_bytes : to, channel, out_bits,
                                   pre_shift, out_shift);
            }
        }
    }
}

#endif
