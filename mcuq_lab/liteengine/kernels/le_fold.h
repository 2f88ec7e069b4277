/* Depthwise convolutions with square kernels of 3 or 5 and strides of 1 or 2, two taps an
 * instruction (SMLAD): the words its parts share.
 *
 * A few channels, whose fields make up whole bytes of a pixel, are a group; groups are computed
 * one after the other. Scratch holds the group's channels of a band of rows, padding included, as
 *     [pair of columns][row][channel of the group],
 * one word each: two pixels side by side in its halves. A half may hold two pixels, one of the
 * band's upper and one of its lower rows: the band is folded.
 *
 * A tile is two columns x two rows of outputs of either fold. Its outputs replace its first words
 * in scratch, where no later tile reads them; when all channels are through, they are put together
 * and written to the output. As a group reads and writes no bytes but its own, and reads them
 * first, the output may lie over the input.
 */
#ifndef LE_FOLD_H
#define LE_FOLD_H

#include <stdint.h>

#include "le_memory.h"
#include "le_requantize.h"

/* One call of a tile function: all tiles of a group's channels in a band. The order of the fields
 * is that of the registers in the assembly: s3 to s7, r1, s11 to s13. */
typedef struct {
    uint32_t mask;            /* of a field, where it is requantized                  */
    uint8_t *a, *a_end;       /* the first channel's first word, and behind the strips */
    uint32_t strip_bytes;     /* from one strip of two output columns to the next     */
    uint32_t tile_rows_bytes; /* from a strip's first tile to the end of its last one */
    uint32_t pair_bytes;      /* from one pair of columns to the next                 */
    const uint32_t *constants, *constants_end; /* of the channels                     */
    const uint32_t *w;        /* pairs of taps of each channel, see le_fold_unpack    */
} le_fold_call;

/* A band as the packing and the scattering functions see it; sizes in rows, pixels, bytes. */
typedef struct {
    const uint8_t *in;     /* the group's first byte in the input's first pixel     */
    const uint8_t *pad;    /* a pixel of padding                                    */
    const uint8_t *kept;   /* rows first_kept .. end_kept of the group, set aside   */
    int32_t first_kept, end_kept;
    uint32_t kept_bytes;   /* of a pixel there                                      */
    int32_t in_h, in_w;
    uint32_t in_pixel_bytes, in_row_bytes;
    int32_t top, left;     /* input pixel at the upper fold's first word            */
    int32_t fold_rows;     /* input rows from the upper fold to the lower one       */
    int32_t rows, pairs;   /* to pack: rows, pairs of columns                       */
    uint8_t *out;          /* the group's first byte in the band's first output     */
    uint32_t out_w, out_pixel_bytes, out_row_bytes;
    uint32_t upper, lower; /* output rows of the folds                              */
    uint32_t strip_bytes;
    uint32_t pair_bytes;
} le_fold_band;

/* One layer. */
typedef struct {
    uint16_t in_h, in_w, in_c, out_h, out_w;
    uint16_t channels; /* rounded up to whole bytes of the output           */
    uint16_t band;     /* output rows of a band, a multiple of the folds    */
    uint8_t pad_top, pad_left;
    uint8_t zero_point;
    uint16_t weight_bytes;           /* of a channel                          */
    const uint8_t *weights;          /* a stream of taps for each channel     */
    const uint32_t *constants; /* of each channel: start of all folds, multiplier, offset; or where
                                  they are narrow: multiplier, K + 2^16 offset   */
} le_fold_layer;

/* What the driver needs to know of a specialisation. */
typedef struct {
    void (*pack)(uint32_t *to, const le_fold_band *band);
    void (*unpack)(uint32_t *w, const uint8_t *weights, uint32_t channels);
    void (*tile)(le_fold_call *call);
    void (*scatter)(const uint32_t *from, const le_fold_band *band);
    uint8_t kernel, stride, folds, field_bits, pre_shift;
    uint8_t group;                     /* channels                              */
    uint8_t weight_words;              /* of a channel's pairs of taps          */
    uint8_t constant_words;            /* of a channel                          */
    uint8_t in_storage, out_storage;   /* bits                                  */
    uint8_t pack_bytes, scatter_bytes; /* of a pixel, of one call of a function */
} le_fold_kernel;

#define LE_FOLD_CALL_BYTES 64 /* no less than sizeof on any machine */
_Static_assert(sizeof(le_fold_call) <= LE_FOLD_CALL_BYTES, "scratch is planned with this");

LE_INTERNAL void le_fold(const le_fold_layer *layer, const le_fold_kernel *kernel,
                         const uint8_t *in, uint8_t *out, uint8_t *scratch);

#endif
