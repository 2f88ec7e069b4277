/* 3x3 convolutions with stride 1 by Winograd's F(2, 3) on packed rows: the words that their parts
 * share. Fields, start values, weights in flash: see le_row_polynomial.h.
 *
 * A group is four output rows, two pairs; d0 .. d5 are the packed input rows that they see, g0 .. g2
 * the packed filter rows. Sums over channels of four products give both rows of a pair:
 *     T = B + sum (d1 + d2) (g0 + g1 + g2)         V = 2^63 + sum (d2 - d1) (g0 - g1 + g2)
 *     row 0 = (T + V) / 2 + sum (d0 - d2) g0       row 1 = (T - V) / 2 + sum (d3 - d1) g2
 * T and V are exact numbers below 2^64, so that T + V, which has 65 bits and is even, is halved
 * without loss; see packing/vertical_rows.py.
 *
 * The words of a block, plane and group are an entry: [product][pair of rows], in the order of the
 * four products above. Entries lie [group][block][plane]. Weight words of two output channels:
 *     [segment][product][plane of the segment][output channel].
 *
 * A tile is the four rows of a group x 2 output channels x one block, in all its segments.
 */
#ifndef LE_VERTICAL_H
#define LE_VERTICAL_H

#include "le_row_polynomial.h"

/* Input planes that are summed up in one go, for the current output channels. The order of the
 * fields is that in which the assembly reads them. */
typedef struct {
    uint32_t begin[4];   /* B: low0 high0 low1 high1                                              */
    uint32_t rest[2];    /* of both channels: added to the high words of row 1; of row 0, + 2^31  */
    uint32_t is_last;
    uint32_t carried[8]; /* from the block before, [row of a pair][pair][output channel]          */
    uint32_t first[2];   /* what is carried into a row's first block, of both channels            */
} le_vertical_chain;

#define LE_VERTICAL_CHAIN_BYTES 68
_Static_assert(sizeof(le_vertical_chain) == LE_VERTICAL_CHAIN_BYTES, "as the assembly has it");

/* One call of a tile function: neighbouring tiles. The order of the fields is that in which the
 * assembly reads them. */
typedef struct {
    int32_t multiplier0, offset0; /* requantization of both channels                      */
    int32_t multiplier1, offset1;
    uint8_t *first[4];            /* of each row: where the first pixel of a tile goes    */
    uint8_t *out[4];              /* where the second one goes                            */
    int32_t step[4];              /* from there to the third one, and so on               */
    const uint32_t *w;            /* weight words                                         */
    uint32_t upper;               /* the channels go into the upper half of a byte        */
    le_vertical_chain *chains;    /* of all segments                                      */
    uint32_t *sums;               /* of the segments before the last one                  */
    const uint8_t *a, *a_end;     /* entries of the first tile, and of the one behind     */
} le_vertical_call;

/* What the driver needs to know of a specialisation. */
typedef struct {
    void (*pack)(uint32_t *entry, const uint8_t *row, const uint8_t *pad, uint32_t channels,
                 const le_row_layer *layer);
    void (*unpack)(uint32_t *to, const uint8_t *from, const le_row_layer *layer);
    void (*start)(le_vertical_chain *chain, const le_row_layer *layer, uint32_t channel);
    void (*tile)(le_vertical_call *call);
    void (*flush)(const le_vertical_call *call, const uint32_t more[2], uint8_t *last,
                  uint32_t row_bytes, uint32_t rows);
    uint8_t pixels, field_bits;
    uint8_t a_storage;
    uint8_t out_bits;
} le_vertical_kernel;

enum { LE_VERTICAL_ROWS = 4, LE_VERTICAL_ENTRY = 8 }; /* of a group; words of an entry */

/* The whole layer. */
LE_INTERNAL void le_vertical(const le_row_layer *layer, const le_vertical_kernel *kernel,
                             const uint8_t *in, uint8_t *out, uint8_t *scratch);

#endif
