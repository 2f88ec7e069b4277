/* Convolutions of any size as dot products, two terms an instruction (SMLAD): the words its parts
 * share.
 *
 * A half of 16 bits holds one or two pixels, a + a' 2^a_shift, or one or two output channels,
 * w + w' 2^w_shift; the accumulator has one field for each pixel and channel. The terms of an
 * output pixel are its window's channels, [kernel row][kernel column][channel], in pairs.
 *
 * Scratch holds a band of output pixels, two words of pixels side by side for each pair of terms,
 *     [group of two words][pair][word],
 * and the weights of four words of output channels: [pair][word]. Of byte pairs, w + w' 2^8, these
 * are two words. With 2^7 more, byte pairs of 8-bit weights are read from flash as they are; the two
 * words of pixels have -2^7 times their sums behind then.
 *
 * A tile is two words of pixels x four words of channels.
 */
#ifndef LE_HALVES_H
#define LE_HALVES_H

#include <stdint.h>

#include "le_column.h"
#include "le_memory.h"
#include "le_requantize.h"

/* Where a stretch of groups writes its pixels. */
typedef struct {
    uint8_t *out;
    int32_t step;         /* bytes from one pixel to the next    */
    const uint8_t *a_end; /* the words behind the last group     */
} le_halves_run;

/* One segment of the terms. */
typedef struct {
    const uint8_t *w_end; /* its end among the weights                    */
    uint32_t first[4];    /* start values of the words of channels        */
} le_halves_part;

/* One call of a tile function: all groups of a band, four words of channels. The order of the
 * fields is that of the registers s0 to s19 in the assembly. */
typedef struct {
    int32_t requantize[16]; /* multiplier and offset of each channel          */
    const uint8_t *w;
    const le_halves_part *parts;
    const uint8_t *w_end;   /* of the last part                               */
    const uint8_t *a;
    const le_halves_run *runs;
    uint32_t run_count;
} le_halves_call;

#define LE_HALVES_CALL_BYTES 128 /* no less than sizeof on any machine */
#define LE_HALVES_PART_BYTES 24
_Static_assert(sizeof(le_halves_call) <= LE_HALVES_CALL_BYTES, "scratch is planned with this");
_Static_assert(sizeof(le_halves_part) <= LE_HALVES_PART_BYTES, "scratch is planned with this");

/* One layer; sizes in pixels, channels, pairs of terms. */
typedef struct {
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint8_t kernel_h, kernel_w, stride_h, stride_w;
    uint8_t pad_top, pad_left;
    uint8_t zero_point;
    uint8_t part_count;
    uint8_t points;             /* whether windows are single pixels inside the input  */
    uint8_t offset_shift;       /* by how much offsets are shifted to the left for the tile */
    uint16_t pairs;             /* of all parts, each rounded up to whole rounds       */
    uint16_t flash_pairs;       /* rounded up to whole groups of weights               */
    uint32_t band;              /* output pixels, a multiple of a group                */
    uint32_t tile_bytes;        /* weights of one tile's channels in flash             */
    const uint8_t *weights;     /* see le_halves_unpack                                */
    const uint16_t *part_pairs; /* pairs of each part                                  */
    const int32_t *multipliers; /* of the channels, whole tiles                        */
    le_column offsets;
    const void *first;          /* start values, [tile of channels][part][word, of byte pairs the
                                   channels' own ones], or if narrow
                                   two bytes each, which count as often as the factors say */
    uint32_t narrow_first;
    uint32_t first_base, first_factors[2];
} le_halves_layer;

/* What the driver needs to know of a specialisation. */
typedef struct {
    void (*pack)(uint32_t *group, uint32_t pixel, const uint8_t *in, const uint8_t *pad,
                 const le_halves_layer *layer);
    void (*unpack)(uint32_t *to, const uint8_t *from, const le_halves_layer *layer); /* or 0 */
    void (*tile)(le_halves_call *call);
    uint8_t pixels, channels;  /* in a half */
    uint8_t w_words;           /* of weights, for a pair of terms: 2 of byte pairs, else 4 */
    uint8_t a_storage, out_storage;
} le_halves_kernel;

/* The whole layer. `in` and `out` may be the same address where each band's outputs take no more
 * bytes than the inputs that no later band reads. */
LE_INTERNAL void le_halves(const le_halves_layer *layer, const le_halves_kernel *kernel,
                           const uint8_t *in, uint8_t *out, uint8_t *scratch);

#endif
