/* 3x3 convolutions, dense or depthwise, as products of polynomials: the words that their parts
 * share.
 *
 * With z = 2^field_bits, `pixels` (m) neighbouring pixels of one channel and row are packed into
 *     A = a[x] + a[x+1] z + ... + a[x+m-1] z^(m-1)
 * and the taps of one filter row into W = w[2] + w[1] z + w[0] z^2. SMLAL sums A * W over channels
 * and filter rows; fields 0 .. m-1 of the sum are finished outputs, the rest is carried into the
 * next block. With two weight words (m = 2) the sum is A[b] (w[2] + w[1] z) + A[b-1] w[0].
 *
 * With stride 2 the even and the odd pixels of a row are two phases, each a row with stride 1 and
 * two taps (packing/phases.py), and each channel is two planes, one a phase; with stride 1 a plane
 * is a channel. Where operands are narrow, a plane is a phase of two channels in the halves of a
 * word, for SMLAD (packing/lanes.py): a block is then twice two pixels with an entry for each two,
 * and an accumulator is two of 32 bits.
 *
 * The input rows of a band wait packed in scratch. An entry is the word A of one block and plane
 * for each of the band's rows, `slots` words. Planes lie in ranges, [slice][range][block][plane of
 * the range], all in one range, or as many as a tile looks at in one go. Two weight words are read
 * like twice as many planes: first those that meet the block before, then the block's own.
 * The weight words of two output channels:
 *     [slice][range][word][plane of the range][filter row][output channel].
 *
 * A tile is 2 output rows x 2 output channels x one block.
 */
#ifndef LE_ROW_POLYNOMIAL_H
#define LE_ROW_POLYNOMIAL_H

#include <stdint.h>

#include "le_column.h"
#include "le_memory.h"
#include "le_requantize.h"

/* Input planes that are summed up in one go, for the current output channels. The order of the
 * fields is that in which the assembly reads them. */
typedef struct {
    uint32_t next[4];  /* added to what is carried into a block: low0 high0 low1 high1            */
    int32_t a_skip;    /* bytes, from behind the entries of a tile to those of the next one       */
    void *sums;        /* accumulators of the segments before the last one, [block][segment][8];
                          where a tile runs all segments, their le_row_kept                       */
    uint32_t is_last;
    uint32_t first[4]; /* accumulators of a row's first block, as in `next`                       */
    const uint8_t *w;  /* weight words                                                            */
    uint32_t w_bytes;
} le_row_chain;

#define LE_ROW_CHAIN_BYTES 72 /* no less than sizeof(le_row_chain) on any machine */
_Static_assert(sizeof(le_row_chain) <= LE_ROW_CHAIN_BYTES, "scratch is planned with this size");

/* A segment where each tile runs all of them: where its weight words end, the accumulators of both
 * output channels at first, and behind it: [row][output channel][block]. The order of the fields is
 * that in which the assembly reads them. */
typedef struct {
    const uint8_t *w_end;
    uint32_t next[2];
    uint32_t sums[8];
} le_row_kept;

#define LE_ROW_KEPT_BYTES 48 /* no less than sizeof(le_row_kept) on any machine */
_Static_assert(sizeof(le_row_kept) <= LE_ROW_KEPT_BYTES, "scratch is planned with this size");

/* A stretch of tiles that write their pixels to one place and meet the same weights. The order of
 * the fields is that in which the assembly reads them. */
typedef struct {
    const uint8_t *a;          /* entries of a row's first tile; 0: goes on behind the last run */
    const le_row_chain *chain; /* of the segment                                                */
    const uint8_t *w, *w_end;  /* weight words                                                  */
    uint8_t *out0, *out1;      /* of row 0 and row 1 of the tile                                */
    int32_t step0, step1;      /* bytes from one pixel to the next                              */
    const uint8_t *a_end;      /* where the entries of the tile behind begin                    */
    uint32_t carried[4];       /* out: low words of the accumulators behind the run             */
    uint32_t rows_bytes;       /* from the pixels of two rows to those of the next two          */
} le_row_run;

#define LE_ROW_RUN_BYTES 56 /* with pointers of 32 bits */

/* One call of a tile function: all tiles of two rows, or of several times two rows, in all their
 * segments. The order of the fields is that in which the assembly reads them. */
typedef struct {
    int32_t multiplier0, offset0; /* requantization of both channels                             */
    int32_t multiplier1, offset1;
    uint32_t upper;               /* the channels go into the upper half of a byte               */
    uint32_t surplus[2];          /* to be subtracted from the sums of all segments; where a tile
                                     runs them all, what is carried into a row's first block     */
    le_row_run *runs;
    uint32_t run_count;
} le_row_call;

/* Input channels that are summed up in one go; sizes in bytes. */
typedef struct {
    uint32_t a_offset; /* of its entries in the first block                 */
    int32_t a_skip;    /* see le_row_chain                                  */
    uint16_t w_offset; /* of its weight words                               */
    uint16_t w_bytes;
    uint8_t shift;     /* what was summed up before counts 2^shift times    */
    uint8_t zero_point; /* of the slice                                     */
} le_row_segment;

/* A run as it is planned; sizes in bytes. Of two weight words it may leave out those that meet the
 * block before, at the front, or the block's own, at the back. */
typedef struct {
    uint32_t a_end; /* entries behind its last tile, from the row's first ones on               */
    int32_t out;    /* its first pixel, from the row's first one on, or in the line             */
    uint16_t w_front, w_back; /* weight words left out                                          */
    uint16_t to_line;
} le_row_plan;

/* Ways to write two rows: the fields in front of the first output go to the output as well, or the
 * tiles at both edges go to the line, or all tiles. */
enum { LE_ROW_DIRECT = 0, LE_ROW_EDGES = 1, LE_ROW_LINE = 2 };

/* One layer. A field is one place of a polynomial; the first output of a row is field `lead`. */
typedef struct {
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint16_t group;         /* input channels that are packed at a time                          */
    uint16_t range;         /* planes of a range, whole rounds of the tile function's loop       */
    uint16_t ranges;        /* ranges of a slice                                                 */
    uint16_t blocks;        /* blocks in scratch, but for one of padding in front                */
    uint16_t tiles;         /* tiles of a row                                                    */
    uint16_t right;         /* tiles from here on yield some pixels behind the last output       */
    uint8_t pad_top, pad_left;
    uint8_t zero_point;
    uint8_t lead;
    uint8_t halves;         /* the first tile has no block before, the last one no own block     */
    uint8_t flush;          /* the last output is complete when it is carried                    */
    uint8_t pad_blocks;     /* blocks of nothing but padding: one in front, one more at the end  */
    uint8_t segment_count;
    uint8_t batch;          /* times two rows in one call of the tile function, at most          */
    uint8_t runs;           /* of tiles in one call of the tile function, at most                */
    uint16_t w_bytes;       /* of the weight words in scratch                                    */
    uint32_t a_bytes;       /* of the entries in scratch                                         */
    uint32_t block_bytes;   /* from one block's entries to the next one's                        */
    uint32_t range_bytes;   /* from one range to the next                                        */
    uint32_t pad_word;      /* an entry's word in these blocks                                   */
    uint32_t pair_bytes;    /* of the weights of two output channels in flash                    */
    const uint8_t *order;   /* words of input channels in the order of their planes; or 0        */
    const uint8_t *weights; /* in the order of the unpacking function                           */
    const int32_t *multipliers; /* of the channels, rounded up to pairs                          */
    le_column offsets;
    le_column surplus;
    const void *starts; /* [channel][segment]: K and K of the uppermost field, in units, and if
                           start values need them, sums of the weights by power of z less a base */
    int32_t start_unit, sum_base;
    uint8_t start_values; /* 2, or 5 with the sums, or 3 with the last one only                  */
    uint8_t start_bytes;  /* of each value, 1 or 4                                               */
    const le_row_segment *segments;
    const le_row_plan *plans[3]; /* up to 5 runs each, by LE_ROW_DIRECT ...                      */
    uint8_t plan_runs[3];
} le_row_layer;

/* What the driver needs to know of a specialisation. */
typedef struct {
    void (*pack)(uint32_t *entry, const uint8_t *row, const uint8_t *pad, uint32_t channels,
                 const le_row_layer *layer);
    void (*unpack)(uint32_t *to, const uint8_t *from, const le_row_layer *layer);
    void (*start)(le_row_chain *chain, const int32_t *low, const int32_t *high,
                  const le_row_layer *layer);
    void (*tile)(le_row_call *call);
    void (*requantize)(const le_row_call *call, const uint32_t sums[4], uint32_t pairs[2]);
    uint8_t depthwise;  /* output channel c sees input channel c only */
    uint8_t nested;     /* a tile runs all segments                   */
    uint8_t pixels, field_bits;
    uint8_t stride;     /* 1 or 2                                     */
    uint8_t slots;
    uint8_t a_storage;
    uint8_t out_bits, pre_shift, shift;
} le_row_kernel;

/* The whole layer. `in` and `out` may be the same address where no output row is written over an
 * input row that is packed later. */
LE_INTERNAL void le_row_polynomial(const le_row_layer *layer, const le_row_kernel *kernel,
                                   const uint8_t *in, uint8_t *out, uint8_t *scratch);

#endif
