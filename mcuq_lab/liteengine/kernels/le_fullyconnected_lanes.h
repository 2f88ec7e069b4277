/* Matrix-vector product for any widths: the weights are used once, so they are never widened.
 *
 * A group of 32 weights lies in w_bits words of two 16-bit lanes; one shift-and-mask extracts
 * weights k and k + 16 as halves, offset by 2^(w_bits-1) so that they are unsigned. The activations
 * are widened into the same order once. The surplus 2^(w_bits-1) * sum(u) is taken off at the end.
 * Two rows at a time share the loads of activations.
 */
#ifndef LE_FULLYCONNECTED_LANES_H
#define LE_FULLYCONNECTED_LANES_H

#include <stdint.h>

#include "le_memory.h"
#include "le_requantize.h"
#include "le_unpack.h"

typedef struct {
    uint32_t in_c;
    uint32_t out_c;
    uint32_t row_bytes;
    uint8_t pre_shift;
    uint8_t shift;
    const uint8_t *weights;        /* out_c rows of row_bytes                */
    const le_requantize *channels; /* out_c                                  */
} le_fullyconnected_layer;

_Static_assert(sizeof(void *) != 4 || sizeof(le_fullyconnected_layer) == 24,
               "as counted for flash");

/* Weights k and k + 16 of the group at `words` as halves, both plus 2^(w_bits-1). Called with
 * ascending k; `word` is the word loaded last. `mask` has w_bits ones in each half. */
LE_INLINE uint32_t le_lane_pair(const uint8_t *words, uint32_t *word, unsigned k, unsigned w_bits,
                                uint32_t mask) {
    unsigned lsb = k * w_bits % 16;
    const uint8_t *at = words + k * w_bits / 16 * 4;
    uint32_t current = lsb == 0 ? le_load32(at) : *word;
    LE_NOT_BEFORE(current);
    *word = current;
    if (lsb + w_bits <= 16) {
        return (current >> lsb) & mask;
    }
    uint32_t upper = ((1u << w_bits) - (1u << (16 - lsb))) * 0x00010001u;
    uint32_t lower = ((1u << (16 - lsb)) - 1u) * 0x00010001u;
    *word = le_load32(at + 4);
    return ((current >> lsb) & lower) | ((*word << (16 - lsb)) & upper);
}

/* Widens activations: for each group the 16 pairs (u[k], u[k+16]), then the rest in order. Returns
 * the sum of those in groups. */
LE_INLINE int32_t le_fullyconnected_widen(int16_t *to, const uint8_t *in, uint32_t in_c,
                                          unsigned storage) {
    int32_t sum = 0;
    uint32_t groups = in_c / 32;
    for (uint32_t group = 0; group < groups; ++group) {
        for (unsigned k = 0; k < 16; k += 4) {
            uint32_t low = le_load_quad(in + k * storage / 8, storage);
            uint32_t high = le_load_quad(in + (k + 16) * storage / 8, storage);
            uint32_t low_even = le_even(low, storage), low_odd = le_odd(low, storage);
            uint32_t high_even = le_even(high, storage), high_odd = le_odd(high, storage);
            le_store32(to + 2 * k, le_pkhbt(low_even, high_even, 16));
            le_store32(to + 2 * k + 2, le_pkhbt(low_odd, high_odd, 16));
            le_store32(to + 2 * k + 4, le_pkhtb(high_even, low_even, 16));
            le_store32(to + 2 * k + 6, le_pkhtb(high_odd, low_odd, 16));
            sum = le_smlad(low_even + low_odd + high_even + high_odd, 0x00010001u, sum);
        }
        to += 32;
        in += 4 * storage;
    }
    le_unpack_fields(to, in, in_c % 32, storage);
    return sum;
}

/* Sum of the weights behind the last group. */
LE_INLINE int32_t le_fullyconnected_tail(const uint8_t *weights, const int16_t *activations,
                                         uint32_t count, int32_t sum, unsigned w_bits) {
    for (uint32_t i = 0; i < count; ++i) {
        uint32_t bit = i * w_bits;
        uint32_t field = (uint32_t)weights[bit / 8] >> bit % 8;
        if (bit % 8 + w_bits > 8) {
            field |= (uint32_t)weights[bit / 8 + 1] << (8 - bit % 8);
        }
        sum = le_wrapping_add(sum, le_sbfx(field, 0, w_bits) * activations[i]);
    }
    return sum;
}

LE_INLINE void le_fullyconnected_lanes(const le_fullyconnected_layer *layer, const uint8_t *in,
                                       uint8_t *out, uint8_t *scratch, unsigned w_bits,
                                       unsigned in_storage, unsigned out_bits) {
    const unsigned out_storage = le_storage_bits(out_bits);
    const uint32_t groups = layer->in_c / 32;
    int16_t *activations = (int16_t *)(void *)scratch;
    /* Sums wrap modulo 2^32 on their way; only the last one is known to be in range. */
    int32_t total = le_fullyconnected_widen(activations, in, layer->in_c, in_storage);
    int32_t surplus = (int32_t)(0u - ((uint32_t)total << (w_bits - 1)));
    uint32_t mask = ((1u << w_bits) - 1u) * 0x00010001u;
    LE_IN_REGISTER(mask);
    for (uint32_t channel = 0; channel < layer->out_c; channel += 2) {
        const int two = channel + 1 < layer->out_c;
        const le_requantize *first = &layer->channels[channel];
        const le_requantize *second = two ? first + 1 : first;
        const uint8_t *row0 = layer->weights + channel * layer->row_bytes;
        const uint8_t *row1 = two ? row0 + layer->row_bytes : row0;
        const int16_t *pairs = activations;
        int32_t sum0 = le_wrapping_add(first->start, surplus);
        int32_t sum1 = le_wrapping_add(second->start, surplus);
        for (uint32_t group = 0; group < groups; ++group) {
            uint32_t word0 = 0, word1 = 0;
#pragma GCC unroll 16
            for (unsigned k = 0; k < 16; ++k) {
                uint32_t a = le_load32(pairs + 2 * k);
                sum0 = le_smlad(a, le_lane_pair(row0, &word0, k, w_bits, mask), sum0);
                sum1 = le_smlad(a, le_lane_pair(row1, &word1, k, w_bits, mask), sum1);
            }
            row0 += 4 * w_bits;
            row1 += 4 * w_bits;
            pairs += 32;
        }
        sum0 = le_fullyconnected_tail(row0, pairs, layer->in_c % 32, sum0, w_bits);
        sum1 = le_fullyconnected_tail(row1, pairs, layer->in_c % 32, sum1, w_bits);
        le_put_pair(out, channel, out_storage,
                    le_requantize_sum(sum0, first, layer->pre_shift, layer->shift, out_bits),
                    le_requantize_sum(sum1, second, layer->pre_shift, layer->shift, out_bits),
                    two);
    }
}

#endif
