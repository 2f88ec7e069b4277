/* Runs one function of le_dsp.h on many operands: `dsp_run(operation, operands, results, count)`.
 * An operand is four words a, b, c, d; a result is two words. */
#include "le_dsp.h"
#include "le_requantize.h"

#ifdef DSP_ON_CORE
#define DSP_END() __asm__ volatile("bkpt 0")
#else
#define DSP_END() (void)0
#endif

static uint64_t pair(uint32_t low, uint32_t high) { return ((uint64_t)high << 32) | low; }

static uint64_t run(uint32_t operation, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    int32_t acc = (int32_t)c;
    int64_t wide = (int64_t)pair(c, d);
    switch (operation) {
    case 0: return (uint32_t)le_smlad(a, b, acc);
    case 1: return (uint32_t)le_smladx(a, b, acc);
    case 2: return (uint32_t)le_smuad(a, b);
    case 3: return (uint64_t)le_smlald(a, b, wide);
    case 4: return (uint32_t)le_smlabb(a, b, acc);
    case 5: return (uint32_t)le_smlabt(a, b, acc);
    case 6: return (uint32_t)le_smlatb(a, b, acc);
    case 7: return (uint32_t)le_smlatt(a, b, acc);
    case 8: return (uint64_t)le_smlal((int32_t)a, (int32_t)b, wide);
    case 9: return le_umlal(a, b, pair(c, d));
    case 10: return le_umaal(a, b, c, d);
    case 11: return (uint32_t)le_smmul((int32_t)a, (int32_t)b);
    case 12: return (uint32_t)le_smmla((int32_t)a, (int32_t)b, acc);
    case 13: return (uint32_t)le_smlawb((int32_t)a, b, acc);
    case 14: return pair(le_usat_asr((int32_t)a, 2, 0), le_usat_asr((int32_t)a, 8, 31));
    case 15: return pair(le_usat_asr((int32_t)a, 4, 1), le_usat_asr((int32_t)a, 7, 22));
    case 16: return le_usat((int32_t)a, 5, b % 32);
    case 17: return pair(le_sxtb16(a, 0), le_sxtb16(a, 8));
    case 18: return pair(le_sxtb16(a, 16), le_sxtb16(a, 24));
    case 19: return pair(le_uxtb16(a, 0), le_uxtb16(a, 8));
    case 20: return pair(le_uxtb16(a, 16), le_uxtb16(a, 24));
    case 21: return pair(le_uxtab16(a, b, 0), le_uxtab16(a, b, 8));
    case 22: return pair(le_pkhbt(a, b, 0), le_pkhbt(a, b, 16));
    case 23: return pair(le_pkhbt(a, b, 7), le_pkhtb(a, b, 16));
    case 24: return pair(le_pkhtb(a, b, 1), le_pkhtb(a, b, 31));
    case 25: return pair(le_ubfx(a, 3, 5), (uint32_t)le_sbfx(a, 3, 5));
    case 26: return pair(le_ubfx(a, 0, 32), (uint32_t)le_sbfx(a, 31, 1));
    case 27: return le_umax8(a, b);
    case 28: return le_requantize_const((int32_t)(a >> 4), (int32_t)(b >> 1), (int32_t)c, 3, 6, 4);
    case 29: {
        le_requantize channel = {0, (int32_t)(b >> 1), (int32_t)c};
        return le_requantize_sum((int32_t)(a >> 4), &channel, 3, d % 32, 8);
    }
    case 30: return le_ssub16(a, b);
    case 31: return le_add_bytes(a, b);
    default: return 0xDEADBEEFu;
    }
}

void dsp_run(uint32_t operation, const uint32_t *operands, uint64_t *results, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        const uint32_t *x = operands + 4 * i;
        results[i] = run(operation, x[0], x[1], x[2], x[3]);
    }
    DSP_END();
}
