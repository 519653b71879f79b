// gradient[r, i] += Σ_t f[t, r] · dy[t, i], block by block.
// One invocation: four columns of two ranks.

struct Params {
    first_group: u32,
    blocks: u32,
    out_features: u32,
    rank: u32,
    exponent_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<u32>; // [tokens, out_features] wide rows
@group(0) @binding(2) var<storage, read> folded: array<u32>; // [blocks, rank, 20]
@group(0) @binding(3) var<storage, read> spans: array<u32>; // [blocks, 2]: first token, tokens ≤ 32
@group(0) @binding(4) var<storage, read> lora_info: array<u32>;
@group(0) @binding(5) var<storage, read_write> gradient: array<u32>; // [rank, out_features] i64
@group(0) @binding(6) var<storage, read_write> flag: atomic<u32>;

// Four columns of one plane of token i of a block; 0 beyond the block.
fn bytes(span: vec2<u32>, i: u32, plane: u32, word: u32) -> u32 {
    if i >= span.y {
        return 0u;
    }
    return dy[((span.x + i) * 2u + plane) * row_words(params.out_features) + word];
}

// Four columns of four tokens of one plane, by columns.
fn columns(span: vec2<u32>, i: u32, plane: u32, word: u32) -> vec4<u32> {
    let first = bytes(span, i, plane, word);
    let second = bytes(span, i + 1u, plane, word);
    let third = bytes(span, i + 2u, plane, word);
    let fourth = bytes(span, i + 3u, plane, word);
    return transpose_bytes(vec4(first, second, third, fourth));
}

// Sums of four columns by products of planes, each ≤ 2^15 · 32.
struct Sums {
    high: vec4<i32>,
    middle: vec4<i32>,
    low: vec4<i32>,
}

// With four tokens more.
fn with_tokens(sums: Sums, high: vec4<u32>, low: vec4<u32>, at: u32) -> Sums {
    let f_high = folded[at];
    let f_low = folded[at + 8u];
    return Sums(
        sums.high + dot_columns(high, f_high),
        sums.middle + dot_columns(high, f_low) + dot_columns(low, f_high),
        sums.low + dot_columns(low, f_low),
    );
}

fn add(r: u32, column: u32, sum: vec2<u32>, shift: i32) {
    if column >= params.out_features {
        return;
    }
    let at = (r * params.out_features + column) * 2u;
    let after = accumulate_64(vec2(gradient[at], gradient[at + 1u]), sum, shift);
    gradient[at] = after.value.x;
    gradient[at + 1u] = after.value.y;
    if after.saturated {
        atomicMax(&flag, 1u);
    }
}

// Adds a block's sums for rank r, |sum| ≤ 2^33.
fn add_block(block: u32, r: u32, column: u32, sums: Sums) {
    if r >= params.rank {
        return;
    }
    let exponent = bitcast<i32>(folded[(block * params.rank + r) * 20u + 16u]);
    let shift = exponent - bitcast<i32>(lora_info[params.exponent_at]);
    add(r, column, join_planes(sums.high.x, sums.middle.x, sums.low.x), shift);
    add(r, column + 1u, join_planes(sums.high.y, sums.middle.y, sums.low.y), shift);
    add(r, column + 2u, join_planes(sums.high.z, sums.middle.z, sums.low.z), shift);
    add(r, column + 3u, join_planes(sums.high.w, sums.middle.w, sums.low.w), shift);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let word = group.x * 64u + local.x;
    let column = word << 2u;
    if column >= params.out_features {
        return;
    }
    // a rank beyond the last is computed as the last, and dropped
    let r = vec2((group.y + params.first_group) * 2u) + vec2(0u, 1u);
    let ranks = min(r, vec2(params.rank - 1u));
    for (var block = 0u; block < params.blocks; block++) {
        let span = vec2(spans[block * 2u], spans[block * 2u + 1u]);
        let at = (vec2(block * params.rank) + ranks) * 20u;
        let zero = Sums(vec4(0i), vec4(0i), vec4(0i));
        var first = zero;
        var second = zero;
        for (var i = 0u; i < min(span.y, 32u); i += 4u) {
            let high = columns(span, i, 0u, word);
            let low = columns(span, i, 1u, word);
            first = with_tokens(first, high, low, at.x + (i >> 2u));
            second = with_tokens(second, high, low, at.y + (i >> 2u));
        }
        add_block(block, r.x, column, first);
        add_block(block, r.y, column, second);
    }
}
