// Adds to the gradient of the LoRA factor b: gradient[r, i] += Σ_block 2^(exponent − job exponent) · Σ_t f[t, r] ·
// dy[t, i], where f are the outputs of lora_fold.wgsl, `exponent` is the exponent of f for the block and row r, and dy
// is the gradient of the linear layer's output. The job exponent is the exponent of this gradient, which is the same in
// all tasks of a network.
// A block has at most 32 tokens, and its sum is exact: |Σ| ≤ 2^14 · 2^14 · 32 = 2^33. The sum is shifted to the job
// exponent and added in i64, so the order of the additions does not affect the bits of the gradient.

struct Params {
    first_group: u32,
    blocks: u32,
    out_features: u32,
    rank: u32,
    exponent_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<u32>; // [tokens, out_features] wide rows
@group(0) @binding(2) var<storage, read> folded: array<u32>; // [blocks, rank, 20]: two planes of 32 tokens, exponent
@group(0) @binding(3) var<storage, read> spans: array<u32>; // [blocks, 2]: first token, number of tokens ≤ 32
@group(0) @binding(4) var<storage, read> lora_info: array<u32>; // word exponent_at: the job's exponent
@group(0) @binding(5) var<storage, read_write> gradient: array<u32>; // [rank, out_features] i64
@group(0) @binding(6) var<storage, read_write> flag: atomic<u32>;

// The number of rows of the gradient that one invocation computes. The gradient has `rank` rows.
const RANKS = 2u;

// The sums of 16 blocks, before they are added to the gradient: [16 blocks, 2 rows, 32 columns].
var<workgroup> staged: array<vec2<u32>, 1024>;

// Sums of products for one row and four columns of the gradient, separately for the int8 planes of f (the outputs of
// lora_fold.wgsl) and dy: `high` is for high plane times high plane, `middle` for high times low plus low times high,
// and `low` for low times low. Each sum is ≤ 2^15 · 32 in magnitude.
struct PlaneSums {
    high: vec4<i32>,
    middle: vec4<i32>,
    low: vec4<i32>,
}

// Sums of products for two rows (one field for each) and four columns of the gradient.
struct Sums {
    first: PlaneSums,
    second: PlaneSums,
}

// Returns the number of columns of the gradient, which are the output features.
fn width() -> u32 {
    return params.out_features;
}

// Returns `sums` plus the products f · dy of tokens i to i + 3 of a block, where f are the outputs of lora_fold.wgsl
// (the buffer `folded`). The products are for the four columns of dy in word `word` of a plane. For the first and the
// second row of the gradient, at.x and at.y are the indices of the words in `folded` that contain the high plane of f
// for these tokens.
fn with_tokens(sums: Sums, span: vec2<u32>, i: u32, word: u32, at: vec4<u32>) -> Sums {
    let high = columns(span, i, 0u, word);
    let low = columns(span, i, 1u, word);
    return Sums(with_weights(sums.first, high, low, at.x), with_weights(sums.second, high, low, at.y));
}

// Returns four columns of one int8 plane of dy, for tokens i to i + 3 of a block. Each word of the result holds one
// column.
fn columns(span: vec2<u32>, i: u32, plane: u32, word: u32) -> vec4<u32> {
    return transpose_bytes(vec4(
        bytes(span, i, plane, word),
        bytes(span, i + 1u, plane, word),
        bytes(span, i + 2u, plane, word),
        bytes(span, i + 3u, plane, word),
    ));
}

// Returns the four int8 values in word `word` of one plane of dy, for token i of a block. Returns 0 past the end of the
// block.
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

// Adds a block's sums to the gradient, in rows r.x and r.y and in four columns from `column` on. Each sum is ≤ 2^33 in
// magnitude.
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

// Stores a block's sums in `staged`: the sums of the first row at index `at`, and the sums of the second row 32
// elements after them.
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
