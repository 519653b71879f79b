// gradient[r, i] += Σ_t f[t, r] · dy[t, i], block by block.
// One workgroup: 32 columns of two ranks. One invocation: of every sixteenth block, four columns of both ranks; then,
// half of them, of all blocks, in their order, one column of one rank.

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

// Sums of 16 blocks: [16, 2 ranks, 32 columns].
var<workgroup> sums: array<vec2<u32>, 1024>;

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

fn put(at: u32, sums_of: Sums) {
    sums[at] = join_planes(sums_of.high.x, sums_of.middle.x, sums_of.low.x);
    sums[at + 1u] = join_planes(sums_of.high.y, sums_of.middle.y, sums_of.low.y);
    sums[at + 2u] = join_planes(sums_of.high.z, sums_of.middle.z, sums_of.low.z);
    sums[at + 3u] = join_planes(sums_of.high.w, sums_of.middle.w, sums_of.low.w);
}

@compute @workgroup_size(8, 16, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let word = group.x * 8u + local.x;
    // a rank beyond the last is computed as the last, and dropped
    let first_rank = (group.y + params.first_group) * 2u;
    let ranks = min(vec2(first_rank) + vec2(0u, 1u), vec2(params.rank - 1u));

    let r = first_rank + (index >> 5u);
    let column = group.x * 32u + (index & 31u);
    let kept = index < 64u && r < params.rank && column < params.out_features;
    let at = (r * params.out_features + column) * 2u;
    var value = vec2(0u);
    if kept {
        value = vec2(gradient[at], gradient[at + 1u]);
    }
    var saturated = false;

    for (var start = 0u; start < params.blocks; start += 16u) {
        let block = start + local.y;
        let zero = Sums(vec4(0i), vec4(0i), vec4(0i));
        var first = zero;
        var second = zero;
        if block < params.blocks && (word << 2u) < params.out_features {
            let span = vec2(spans[block * 2u], spans[block * 2u + 1u]);
            let from_word = (vec2(block * params.rank) + ranks) * 20u;
            for (var i = 0u; i < min(span.y, 32u); i += 4u) {
                let high = columns(span, i, 0u, word);
                let low = columns(span, i, 1u, word);
                first = with_tokens(first, high, low, from_word.x + (i >> 2u));
                second = with_tokens(second, high, low, from_word.y + (i >> 2u));
            }
        }
        let stage = (local.y << 6u) + (local.x << 2u);
        put(stage, first);
        put(stage + 32u, second);
        workgroupBarrier();
        if kept {
            for (var i = 0u; i < min(params.blocks - start, 16u); i++) {
                // |sum| ≤ 2^33
                let sum = sums[(i << 6u) + index];
                let exponent = bitcast<i32>(folded[((start + i) * params.rank + r) * 20u + 16u]);
                let after = accumulate_64(value, sum, exponent - bitcast<i32>(lora_info[params.exponent_at]));
                value = after.value;
                saturated = saturated || after.saturated;
            }
        }
        workgroupBarrier();
    }
    if kept {
        gradient[at] = value.x;
        gradient[at + 1u] = value.y;
        if saturated {
            atomicMax(&flag, 1u);
        }
    }
}
