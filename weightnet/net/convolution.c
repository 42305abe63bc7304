/* Convolution (KERNEL x KERNEL, valid), 2x2 max-pooling and ReLU in one, forward and backward, for few channels.

   Images lie in blocks of 16 examples, the example innermost: (blocks, channels, height, width, 16). So every
   instruction works on several examples at once, whatever the number of channels, and no matrix of patches is built.
   The four places under a pooling window see one patch of (KERNEL + 1)^2 pixels; a window is that patch's (h, v).

   Each sum is kept in registers and has a fixed order: no two examples are added before the very end, and then in the
   same tree. So the results do not depend on LANES, the examples that one register holds. Compiled by native.py. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 16
#define PATCH (KERNEL + 1)
#define TAPS (KERNEL * KERNEL)

#ifndef LANES
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#endif

/* How much is summed at once: as much as the registers hold, 32 of them with AVX-512, else 16. */
#if LANES == 16
#define CHANNELS 5 /* output channels, times 4 places: forward */
#define ROWS KERNEL /* rows of a kernel, times KERNEL: gradient of the weights */
#else
#define CHANNELS 3
#define ROWS 2
#endif
#define PATCH_ROWS 2 /* rows of a patch, times PATCH: gradient of the images */

#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")
/* Loads stay below this line: a compiler that moves them ahead has no registers left for the sums. */
#define NOT_YET __asm__("" ::: "memory")

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES)));

INLINE Floats load(const float *from) { return *(const Floats *)from; }
INLINE void store(float *to, Floats value) { *(Floats *)to = value; }
INLINE Ints choose(Ints mask, Ints yes, Ints no) { return (mask & yes) | (~mask & no); }
INLINE Floats where(Ints mask, Floats value) { return (Floats)(mask & (Ints)value); }
INLINE Floats all(float value) { return value - (Floats){0}; }

/* images (examples, numbers) -> blocks (numbers, 16) each, the last filled up with zeros; and back. */
void to_blocks(const float *images, float *blocks, long examples, long numbers) {
    for (long first = 0; first < examples; first += BLOCK, blocks += numbers * BLOCK)
        for (long number = 0; number < numbers; number++)
            for (long lane = 0; lane < BLOCK; lane++)
                blocks[number * BLOCK + lane] = first + lane < examples ? images[(first + lane) * numbers + number] : 0;
}

void from_blocks(const float *blocks, float *images, long examples, long numbers) {
    for (long example = 0; example < examples; example++)
        for (long number = 0; number < numbers; number++)
            images[example * numbers + number] = blocks[(example / BLOCK * numbers + number) * BLOCK + example % BLOCK];
}

/* One window of `count` output channels: its four sums each, their maximum, bias, ReLU; where the maximum was (0 to 3,
   the first of equals; 4: ReLU took it). A NaN stays one. */
INLINE void forward_window(const float *images, const float *weight, const float *bias, float *result, int8_t *place,
                           long channels, long height, long width, long windows, const int count) {
    Floats sum[CHANNELS][4];
    UNROLLED for (int o = 0; o < count; o++)
        UNROLLED for (int p = 0; p < 4; p++) sum[o][p] = all(0);
    for (long c = 0; c < channels; c++)
        for (long i = 0; i < KERNEL; i++) {
            const float *row = images + (c * height + i) * width * BLOCK, *taps = weight + c * TAPS + i * KERNEL;
            UNROLLED for (int j = 0; j < KERNEL; j++) {
                NOT_YET;
                Floats tap[CHANNELS];
                UNROLLED for (int o = 0; o < count; o++) tap[o] = all(taps[o * channels * TAPS + j]);
                UNROLLED for (int p = 0; p < 4; p++) {
                    Floats pixel = load(row + (p / 2 * width + p % 2 + j) * BLOCK);
                    UNROLLED for (int o = 0; o < count; o++) sum[o][p] += tap[o] * pixel;
                }
            }
        }
    UNROLLED for (int o = 0; o < count; o++) {
        Floats most = sum[o][0];
        Ints at = (Ints){0};
        UNROLLED for (int p = 1; p < 4; p++) {
            Ints more = (sum[o][p] > most) | (sum[o][p] != sum[o][p]);
            most = (Floats)choose(more, (Ints)sum[o][p], (Ints)most);
            at = choose(more, (Ints){0} + p, at);
        }
        most += all(bias[o]);
        Ints off = most <= 0;
        store(result + o * windows * BLOCK, where(~off, most));
        *(Bytes *)(place + o * windows * BLOCK) = __builtin_convertvector(choose(off, (Ints){0} + 4, at), Bytes);
    }
}

/* images (blocks, channels, height, width, 16), weight (outputs, channels, KERNEL, KERNEL), bias (outputs)
   -> result and place (blocks, outputs, high, wide, 16) */
void forward(const float *images, const float *weight, const float *bias, float *result, int8_t *place,
             long blocks, long channels, long height, long width, long outputs) {
    const long high = (height - KERNEL + 1) / 2, wide = (width - KERNEL + 1) / 2, windows = high * wide;
    for (long block = 0; block < blocks; block++)
        for (long o = 0, count; o < outputs; o += count) {
            const long rest = outputs - o, parts = (rest + CHANNELS - 1) / CHANNELS;
            count = (rest + parts - 1) / parts; /* of equal size: 10 = 3 + 3 + 2 + 2 */
            for (long h = 0; h < high; h++)
                for (long v = 0; v < wide; v++)
                    for (long lane = 0; lane < BLOCK; lane += LANES) {
                        const float *x = images + ((block * channels * height + 2 * h) * width + 2 * v) * BLOCK + lane;
                        const float *w = weight + o * channels * TAPS;
                        const long at = ((block * outputs + o) * windows + h * wide + v) * BLOCK + lane;
#define CASE(n) \
    case n: forward_window(x, w, bias + o, result + at, place + at, channels, height, width, windows, n); break;
                        switch (count) {
                            CASE(1) CASE(2) CASE(3)
#if CHANNELS == 5
                            CASE(4) CASE(5)
#endif
                        }
                    }
        }
}

/* The gradient of a block's results (outputs, windows, 16) -> at each of the four places (outputs, windows, 4, 16): at
   that which had the maximum, else 0. Adds to `sums` (outputs, 16), the gradient of the bias. */
static void route(const float *gradient, const int8_t *place, float *routed, float *sums, long outputs, long windows) {
    for (long lane = 0; lane < BLOCK; lane += LANES)
        for (long o = 0; o < outputs; o++) {
            Floats sum = load(sums + o * BLOCK + lane);
            for (long at = o * windows; at < (o + 1) * windows; at++) {
                Ints had = __builtin_convertvector(*(const Bytes *)(place + at * BLOCK + lane), Ints);
                Floats value = load(gradient + at * BLOCK + lane);
                sum += where(had < 4, value);
                UNROLLED for (int p = 0; p < 4; p++)
                    store(routed + (at * 4 + p) * BLOCK + lane, where(had == p, value));
            }
            store(sums + o * BLOCK + lane, sum);
        }
}

/* Some rows of a kernel: over all windows, sum += gradient at the place x the pixel that its tap saw from there. */
INLINE void weight_rows(const float *images, const float *routed, float *sums, long width, long high, long wide,
                        const int rows) {
    Floats sum[ROWS][KERNEL];
    UNROLLED for (int i = 0; i < rows; i++)
        UNROLLED for (int j = 0; j < KERNEL; j++) sum[i][j] = load(sums + (i * KERNEL + j) * BLOCK);
    for (long h = 0; h < high; h++)
        for (long v = 0; v < wide; v++) {
            const float *patch = images + (2 * h * width + 2 * v) * BLOCK, *from = routed + (h * wide + v) * 4 * BLOCK;
            Floats gradient[4];
            UNROLLED for (int p = 0; p < 4; p++) gradient[p] = load(from + p * BLOCK);
            UNROLLED for (int r = 0; r < rows + 1; r++)
                UNROLLED for (int s = 0; s < PATCH; s++) {
                    NOT_YET;
                    Floats pixel = load(patch + (r * width + s) * BLOCK);
                    UNROLLED for (int p = 0; p < 4; p++) {
                        const int i = r - p / 2, j = s - p % 2;
                        if (i >= 0 && i < rows && j >= 0 && j < KERNEL) sum[i][j] += gradient[p] * pixel;
                    }
                }
        }
    UNROLLED for (int i = 0; i < rows; i++)
        UNROLLED for (int j = 0; j < KERNEL; j++) store(sums + (i * KERNEL + j) * BLOCK, sum[i][j]);
}

/* Rows `first`, `first` + 1 of a window's patch in the gradient of the images: over all outputs, sum += tap x gradient
   at each place from which the tap saw the pixel. */
INLINE void patch_rows(const float *routed, const float *weight, float *patch, long channels, long outputs, long width,
                       long windows, const int first) {
    Floats sum[PATCH_ROWS][PATCH];
    UNROLLED for (int r = 0; r < PATCH_ROWS; r++)
        UNROLLED for (int s = 0; s < PATCH; s++) sum[r][s] = load(patch + ((first + r) * width + s) * BLOCK);
    for (long o = 0; o < outputs; o++) {
        const float *from = routed + o * windows * 4 * BLOCK, *taps = weight + o * channels * TAPS;
        Floats gradient[4];
        UNROLLED for (int p = 0; p < 4; p++) gradient[p] = load(from + p * BLOCK);
        UNROLLED for (int k = 0; k < PATCH_ROWS + 1; k++)
            UNROLLED for (int j = 0; j < KERNEL; j++) {
                const int i = first - 1 + k;
                if (i < 0 || i >= KERNEL) continue;
                Floats tap = all(taps[i * KERNEL + j]);
                UNROLLED for (int p = 0; p < 4; p++) {
                    const int r = i + p / 2 - first, s = j + p % 2;
                    if (r >= 0 && r < PATCH_ROWS) sum[r][s] += tap * gradient[p];
                }
            }
    }
    UNROLLED for (int r = 0; r < PATCH_ROWS; r++)
        UNROLLED for (int s = 0; s < PATCH; s++) store(patch + ((first + r) * width + s) * BLOCK, sum[r][s]);
}

/* The sum of 16 floats, in a tree. */
static float sum_of_block(const float *from) {
    float sum[BLOCK];
    memcpy(sum, from, sizeof sum);
    for (int half = BLOCK / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) sum[lane] += sum[lane + half];
    return sum[0];
}

/* The gradients of images (or none, where `images_gradient` is null), weight and bias, from that of the result.
   Returns 0, or 1 where there is no memory. */
int backward(const float *images, const float *weight, const float *gradient, const int8_t *place,
             float *images_gradient, float *weight_gradient, float *bias_gradient,
             long blocks, long channels, long height, long width, long outputs) {
    const long high = (height - KERNEL + 1) / 2, wide = (width - KERNEL + 1) / 2, windows = high * wide;
    const long taps = outputs * channels * TAPS, pixels = channels * height * width;
    float *memory = aligned_alloc(64, (outputs * windows * 4 + taps + outputs) * BLOCK * sizeof(float));
    if (!memory) return 1;
    float *routed = memory, *sums = routed + outputs * windows * 4 * BLOCK, *bias_sums = sums + taps * BLOCK;
    memset(sums, 0, (taps + outputs) * BLOCK * sizeof(float));
    if (images_gradient) memset(images_gradient, 0, blocks * pixels * BLOCK * sizeof(float));
    for (long block = 0; block < blocks; block++) {
        const long at = block * outputs * windows * BLOCK;
        route(gradient + at, place + at, routed, bias_sums, outputs, windows);
        for (long o = 0; o < outputs; o++)
            for (long c = 0; c < channels; c++)
                for (long lane = 0; lane < BLOCK; lane += LANES)
                    for (long i = 0; i < KERNEL; i += ROWS) {
                        const float *x = images + (block * pixels + (c * height + i) * width) * BLOCK + lane;
                        const float *from = routed + o * windows * 4 * BLOCK + lane;
                        float *to = sums + ((o * channels + c) * TAPS + i * KERNEL) * BLOCK + lane;
                        if (KERNEL - i >= ROWS) weight_rows(x, from, to, width, high, wide, ROWS);
                        else weight_rows(x, from, to, width, high, wide, KERNEL % ROWS);
                    }
        for (long h = 0; images_gradient && h < high; h++)
            for (long v = 0; v < wide; v++)
                for (long c = 0; c < channels; c++)
                    for (long lane = 0; lane < BLOCK; lane += LANES) {
                        const long corner = (c * height + 2 * h) * width + 2 * v;
                        float *patch = images_gradient + (block * pixels + corner) * BLOCK + lane;
                        const float *from = routed + (h * wide + v) * 4 * BLOCK + lane, *w = weight + c * TAPS;
                        UNROLLED for (int first = 0; first < PATCH; first += PATCH_ROWS)
                            patch_rows(from, w, patch, channels, outputs, width, windows, first);
                    }
    }
    for (long tap = 0; tap < taps; tap++) weight_gradient[tap] = sum_of_block(sums + tap * BLOCK);
    for (long o = 0; o < outputs; o++) bias_gradient[o] = sum_of_block(bias_sums + o * BLOCK);
    free(memory);
    return 0;
}
