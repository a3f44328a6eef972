// The kernels of one instruction set. CMake compiles this file once for each, with its flags and its STRIATE_ISA_ macro.
#if defined(STRIATE_ISA_AMX)
#define STRIATE_NAMESPACE striate_amx
#define STRIATE_ISA_NAME "amx"
#define STRIATE_ISA_AVX512BF16 1
#elif defined(STRIATE_ISA_AVX512BF16)
#define STRIATE_NAMESPACE striate_avx512bf16
#define STRIATE_ISA_NAME "avx512bf16"
#elif defined(STRIATE_ISA_AVX512)
#define STRIATE_NAMESPACE striate_avx512
#define STRIATE_ISA_NAME "avx512"
#elif defined(STRIATE_ISA_AVX2)
#define STRIATE_NAMESPACE striate_avx2
#define STRIATE_ISA_NAME "avx2"
#elif defined(STRIATE_ISA_NEON)
#define STRIATE_NAMESPACE striate_neon
#define STRIATE_ISA_NAME "neon"
#else
#define STRIATE_NAMESPACE striate_generic
#define STRIATE_ISA_NAME "generic"
#endif

#if defined(STRIATE_ISA_AVX512BF16)
#include "tile_gradients.hpp"
#include "tile_sums.hpp"
#endif
#include "image_steps.hpp"
#include "image_winograd.hpp"
#include "images.hpp"
#include "layout.hpp"
#include "normalize.hpp"
#include "outer.hpp"
#include "pooling.hpp"
#include "taps.hpp"
#include "training.hpp"
#include "winograd.hpp"
#include "winograd4.hpp"

namespace STRIATE_NAMESPACE {

// Multiply-adds of a loop that touches nothing but registers: what the processor can do at most.
double peak(int64_t repeats) {
    constexpr int N = REGISTERS == 32 ? 24 : 12;
    vec sums[N];
#pragma GCC unroll 24
    for (int i = 0; i < N; i++) sums[i] = splat(1e-3f * static_cast<float>(i));
    vec factor = splat(0.999f), term = splat(1e-4f);
    for (int64_t r = 0; r < repeats; r++) {
#pragma GCC unroll 24
        for (int i = 0; i < N; i++) {
            sums[i] = sums[i] * factor + term;
#if defined(__x86_64__)
            asm volatile("" : "+x"(sums[i]));
#elif defined(__aarch64__)
            asm volatile("" : "+w"(sums[i]));
#endif
        }
    }
    vec total = {};
#pragma GCC unroll 24
    for (int i = 0; i < N; i++) total += sums[i];
    volatile float sink = lane_sum(total);
    (void)sink;
    return static_cast<double>(repeats) * N * W;
}

// What checks.cpp takes for granted, which is compiled once for all of them.
constexpr striate::TileSize DENSE = striate::dense_tile(ACCUMULATORS), WINOGRAD = striate::winograd_tile(ACCUMULATORS);
static_assert(DENSE.outputs == DENSE_OUTPUTS && DENSE.vectors == DENSE_VECTORS);
static_assert(WINOGRAD.outputs == WINOGRAD_OUTPUTS && WINOGRAD.vectors == WINOGRAD_TILES);
static_assert(IMAGE_SUMS == ACCUMULATORS);

template <class Arguments> constexpr int64_t ints() { return sizeof(Arguments) / sizeof(int64_t); }

// Names are those of engine/_instructions.py; the numbers: ints, floats, operands, tables.
constinit const striate::KernelEntry ENTRIES[] = {
    {"taps", taps, ints<TapsArguments>(), 2, 5, 7},
    {"pack", pack, ints<PackArguments>(), 0, 3, 1},
    {"pack_dense", pack_dense, ints<PackDenseArguments>(), 0, 3, 0},
    {"winograd_pack", winograd_pack, ints<WinogradPackArguments>(), 0, 3, 0},
    {"winograd", winograd, ints<WinogradArguments>(), 2, 5, 5},
    {"outer", outer, ints<OuterArguments>(), 0, 3, 1},
    {"channel_sums", channel_sums, ints<ChannelSumsArguments>(), 0, 2, 0},
    {"load", load_images, ints<LayoutArguments>(), 0, 2, 0},
    {"store", store_images, ints<LayoutArguments>(), 0, 2, 0},
    {"panels_of_rows", panels_of_rows, ints<RowsArguments>(), 0, 2, 1},
    {"dense_weight_gradient", dense_weight_gradient, ints<DenseGradientArguments>(), 0, 3, 0},
    {"dense_bias_gradient", dense_bias_gradient, 1, 0, 2, 1},
    {"activate", activate_values, ints<ActivateArguments>(), 2, 2, 0},
    {"slope", multiply_by_slope, ints<SlopeArguments>(), 2, 3, 0},
    {"combine", combine, ints<CombineArguments>(), 2, 3, 0},
    {"sum_products", sum_products, ints<SumProductsArguments>(), 0, 3, 0},
    {"move", move_values, ints<MoveArguments>(), 1, 2, 2},
    {"fill", fill, ints<FillArguments>(), 1, 1, 0},
    {"drop", drop, ints<DropoutArguments>(), 1, 2, 0},
    {"max_pool", max_pool, ints<MaxPoolArguments>(), 0, 3, 2},
    {"max_pool_backward", max_pool_backward, ints<MaxPoolArguments>(), 0, 3, 2},
    {"unpool", unpool, ints<UnpoolArguments>(), 0, 3, 0},
    {"avg_pool", avg_pool, ints<AvgPoolArguments>(), -1, 2, 2},
    {"avg_pool_backward", avg_pool_backward, ints<AvgPoolArguments>(), -1, 2, 2},
    {"batch_statistics", batch_statistics, ints<BatchStatisticsArguments>(), 0, 2, 0},
    {"batch_coefficients", batch_coefficients, ints<BatchCoefficientsArguments>(), 2, 6, 0},
    {"normalize", normalize, ints<NormalizeArguments>(), 2, 4, 0},
    {"normalize_sums", normalize_sums, ints<NormalizeSumsArguments>(), 2, 6, 0},
    {"normalize_gradients", normalize_gradients, ints<NormalizeGradientsArguments>(), 0, 5, 0},
    {"normalize_input", normalize_input, ints<NormalizeInputArguments>(), 0, 4, 0},
    {"local_response", local_response, ints<LocalResponseArguments>(), 3, 2, 0},
    {"local_response_backward", local_response_backward, ints<LocalResponseArguments>(), 3, 3, 0},
    {"cross_entropy", cross_entropy, ints<CrossEntropyArguments>(), 1, 4, 0},
    {"sum_losses", sum_losses, 0, 0, 2, 0},
    {"clear_slots", clear_slots, ints<CountArguments>(), 0, 1, 0},
    {"sum_slots", sum_slots, ints<SumSlotsArguments>(), 0, 2, 0},
    {"update_sgd", update_sgd, ints<UpdateArguments>(), 0, 3, 0},
    {"update_adam", update_adam, ints<UpdateArguments>(), 0, 4, 0},
    {"image_load", image_load, ints<ImageLayoutArguments>(), 0, 2, 0},
    {"image_store", image_store, ints<ImageLayoutArguments>(), 0, 2, 0},
    {"image_taps", image_taps, ints<ImageTapsArguments>(), 4, 5, 4},
    {"image_depthwise", image_depthwise, ints<ImageDepthwiseArguments>(), 4, 5, 3},
    {"image_depthwise3", image_depthwise3, ints<ImageDepthwise3Arguments>(), 4, 5, 0},
    {"winograd4_pack", winograd4_pack, ints<Winograd4PackArguments>(), 0, 3, 0},
    {"winograd4", winograd4, ints<Winograd4Arguments>(), 2, 5, 5},
    {"image_winograd", image_winograd, ints<ImageWinogradArguments>(), 4, 5, 5},
    {"image_winograd_pack", image_winograd_pack, ints<ImageWinogradPackArguments>(), 0, 3, 1},
    {"image_pack", image_pack, ints<ImagePackArguments>(), 0, 3, 2},
    {"image_max_pool", image_max_pool, ints<ImageMaxPoolArguments>(), 0, 2, 2},
    {"image_avg_pool", image_avg_pool, ints<ImageAvgPoolArguments>(), -1, 2, 2},
    {"image_normalize", image_normalize, ints<ImageNormalizeArguments>(), 2, 4, 0},
    {"image_combine", image_combine, ints<ImageCombineArguments>(), 0, 3, 0},
    {"image_activate", image_activate, ints<ImageActivateArguments>(), 2, 2, 0},
    {"image_local_response", image_local_response, ints<ImageLocalResponseArguments>(), 3, 2, 0},
    {"image_move", image_move, 0, 0, 2, 1},
    {"fold_bias", fold_bias, ints<FoldBiasArguments>(), 0, 3, 0},
#if defined(STRIATE_ISA_AVX512BF16)
    {"pair_channels", pair_channels, ints<PairChannelsArguments>(), 0, 2, 0},
    {"pair_features", pair_features, ints<PairFeaturesArguments>(), 0, 2, 1},
    {"pair_images", pair_images, ints<PairImagesArguments>(), 0, 2, 0},
    {"half_images", half_images, ints<HalfImagesArguments>(), 0, 2, 0},
    {"tile_pack", tile_pack, ints<TilePackArguments>(), 0, 3, 1},
    {"tile_sums", tile_sums, ints<TileSumsArguments>(), 2, 5, 5},
    {"tile_outer", tile_outer, ints<TileOuterArguments>(), 0, 3, 2},
    {"sum_tile_slots", sum_tile_slots, ints<SumTileSlotsArguments>(), 0, 2, 1},
    {"dense_rows", dense_rows, ints<DenseTilesArguments>(), 0, 2, 1},
    {"tile_dense_gradient", tile_dense_gradient, ints<TileDenseGradientArguments>(), 0, 3, 1},
#endif
};

constinit const striate::KernelTable TABLE = {
    STRIATE_ISA_NAME, W, ACCUMULATORS, ENTRIES, static_cast<int64_t>(sizeof(ENTRIES) / sizeof(ENTRIES[0])), peak};

}  // namespace STRIATE_NAMESPACE

#define STRIATE_JOIN2(a, b) a##b
#define STRIATE_JOIN(a, b) STRIATE_JOIN2(a, b)
extern "C" const striate::KernelTable* STRIATE_JOIN(STRIATE_NAMESPACE, _kernels)() {
    return &STRIATE_NAMESPACE::TABLE;
}
