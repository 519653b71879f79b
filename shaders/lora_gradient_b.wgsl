// gradient[r, i] += Σ_block 2^(exponent − job exponent) · Σ_t f[t, r] · dy[t, i]: the gradient of the factor b.
// The sum of a block, at most 32 tokens, is exact: |Σ| ≤ 2^14 · 2^14 · 32 = 2^33. It is shifted to the job's exponent
// and added in i64, so gradients add up to the same bits in any order.

struct Params {
    first_group: u32,
    blocks: u32,
    out_features: u32,
    rank: u32,
    exponent_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<u32>; // [tokens, out_features] wide rows
@group(0) @binding(2) var<storage, read> folded: array<u32>; // [blocks, rank, 20]: planes of 32 tokens, exponent
@group(0) @binding(3) var<storage, read> spans: array<u32>; // [blocks, 2]: first token, number of tokens ≤ 32
@group(0) @binding(4) var<storage, read> lora_info: array<u32>; // word exponent_at is the job's exponent
@group(0) @binding(5) var<storage, read_write> gradient: array<u32>; // [rank, out_features] i64
@group(0) @binding(6) var<storage, read_write> flag: atomic<u32>;

// The number of ranks that an invocation computes.
const RANKS = 2u;

// Sums of 16 blocks: [16, 2 ranks, 32 columns].
var<workgroup> staged: array<vec2<u32>, 1024>;

// Sums of four columns for one rank, one field for each product of planes; each sum is ≤ 2^15 · 32 in magnitude.
struct PlaneSums {
    high: vec4<i32>,
    middle: vec4<i32>,
    low: vec4<i32>,
}

// Sums of four columns for two ranks.
struct Sums {
    first: PlaneSums,
    second: PlaneSums,
}

// The number of columns of the gradient.
fn width() -> u32 {
    return params.out_features;
}

// Adds tokens i..i + 4 of a block to the sums; their weights for the two ranks are at the first two words `at` of
// `folded`.
fn with_tokens(sums: Sums, span: vec2<u32>, i: u32, word: u32, at: vec4<u32>) -> Sums {
    let high = columns(span, i, 0u, word);
    let low = columns(span, i, 1u, word);
    return Sums(with_weights(sums.first, high, low, at.x), with_weights(sums.second, high, low, at.y));
}

// Four columns of one plane for tokens i..i + 4 of a block, one column to a word.
fn columns(span: vec2<u32>, i: u32, plane: u32, word: u32) -> vec4<u32> {
    return transpose_bytes(vec4(
        bytes(span, i, plane, word),
        bytes(span, i + 1u, plane, word),
        bytes(span, i + 2u, plane, word),
        bytes(span, i + 3u, plane, word),
    ));
}

// Four columns of one plane of token i of a block; 0 beyond the block.
fn bytes(span: vec2<u32>, i: u32, plane: u32, word: u32) -> u32 {
    if i >= span.y {
        return 0u;
    }
    return dy[((span.x + i) * 2u + plane) * row_words(params.out_features) + word];
}

fn with_weights(sums: PlaneSums, high: vec4<u32>, low: vec4<u32>, at: u32) -> PlaneSums {
    let f_high = folded[at];
    let f_low = folded[at + 8u];
    return PlaneSums(
        sums.high + dot_columns(high, f_high),
        sums.middle + dot_columns(high, f_low) + dot_columns(low, f_high),
        sums.low + dot_columns(low, f_low),
    );
}

// Adds a block's sums, |sum| ≤ 2^33, to the gradient of ranks r.x and r.y.
fn add_ranks(block: u32, r: vec4<u32>, column: u32, sums: Sums) {
    add_rank(block, r.x, column, sums.first);
    add_rank(block, r.y, column, sums.second);
}

fn add_rank(block: u32, r: u32, column: u32, sums: PlaneSums) {
    add_columns(
        block, r, column,
        join_planes(sums.high.x, sums.middle.x, sums.low.x), join_planes(sums.high.y, sums.middle.y, sums.low.y),
        join_planes(sums.high.z, sums.middle.z, sums.low.z), join_planes(sums.high.w, sums.middle.w, sums.low.w),
    );
}

// Stages a block's sums; ranks are 32 columns apart.
fn stage_ranks(at: u32, sums: Sums) {
    stage(at, sums.first);
    stage(at + 32u, sums.second);
}

fn stage(at: u32, sums: PlaneSums) {
    staged[at] = join_planes(sums.high.x, sums.middle.x, sums.low.x);
    staged[at + 1u] = join_planes(sums.high.y, sums.middle.y, sums.low.y);
    staged[at + 2u] = join_planes(sums.high.z, sums.middle.z, sums.low.z);
    staged[at + 3u] = join_planes(sums.high.w, sums.middle.w, sums.low.w);
}

fn staged_sum(at: u32) -> vec2<u32> {
    return staged[at];
}
