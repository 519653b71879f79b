// Multiplies each row of u by the scales of its token: out[block, r, i] = u[first + i, r] · row_scale(first + i), where
// row_scale(t) is the product of the scales of token t, i counts the tokens of a block (at most 32), `first` is the
// block's first token, and r is a column of u. u is the input of a linear layer, or the gradient of its output, times a
// LoRA factor. The products are rounded to 14 bits; those of one block and one column share an exponent. One workgroup
// computes one block, 8 columns at a time. Of its 64 invocations, 8 work on each column, with 4 tokens each.

struct Params {
    first_group: u32,
    blocks: u32,
    rank: u32,
    scale_at: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<u32>; // [tokens, rank] wide rows
@group(0) @binding(2) var<storage, read> u_info: array<u32>; // [tokens, 4] row info
@group(0) @binding(3) var<storage, read> x_info: array<u32>; // [tokens, 4] row info
@group(0) @binding(4) var<storage, read> dy_info: array<u32>; // [tokens, 4] row info
@group(0) @binding(5) var<storage, read> spans: array<u32>; // [blocks, 2]: first token, number of tokens ≤ 32
// the scales and exponents of the adapter. The scale at word `scale_at` is alpha / rank times the unit of the LoRA
// factor with which u, an input of this kernel, was computed
@group(0) @binding(6) var<storage, read> lora_info: array<u32>;
@group(0) @binding(7) var<storage, read> dither: array<u32>; // index of the first token, 0, keys of the streams
@group(0) @binding(8) var<storage, read_write> out: array<u32>; // [blocks, rank, 20]: two planes of 32 tokens, exponent

// For each token of the block, the product of the token's scales, as a mantissa here and an exponent in `exponents`.
var<workgroup> mantissas: array<u32, 32>;
var<workgroup> exponents: array<i32, 32>;
// The largest magnitude that each invocation has found. There are 8 invocations for each of 8 columns of u.
var<workgroup> largest: array<vec2<u32>, 64>;

fn scale_at(at: vec2<u32>) -> Scale {
    return Scale(at.x, bitcast<i32>(at.y));
}

// Returns the product of four scales: those of the token's rows in x, dy and u, and that of the adapter. The scale of u
// is a power of two, so only its exponent is added.
fn row_scale(token: u32) -> Scale {
    let info = token * 4u;
    let x = scale_at(vec2(x_info[info], x_info[info + 1u]));
    let dy = scale_at(vec2(dy_info[info], dy_info[info + 1u]));
    let adapter = scale_at(vec2(lora_info[params.scale_at], lora_info[params.scale_at + 1u]));
    let scale = scale_multiply(scale_multiply(x, dy), adapter);
    if scale.mantissa == 0u {
        return Scale(0u, ZERO_EXPONENT);
    }
    return scale_shift(scale, bitcast<i32>(u_info[info + 1u]) + 30i);
}

// Returns the integer in column r of a token's row of u. Its magnitude is ≤ 2^14.
fn element(token: u32, r: u32) -> i32 {
    let words = row_words(params.rank);
    let left = (24u - ((r & 3u) << 3u)) & 31u;
    let high = bitcast<i32>(u[token * 2u * words + (r >> 2u)] << left) >> 24u;
    let low = bitcast<i32>(u[(token * 2u + 1u) * words + (r >> 2u)] << left) >> 24u;
    return high * 256i + low;
}

// Returns the integer of u for token i of the block and column r, multiplied by the token's scales. The result is in
// units of 2^(top − 16), where `top` is the largest of the block's `exponents`. Its magnitude is ≤ 2^61. Returns 0 past
// the end of the block and past the last column.
fn folded(span: vec2<u32>, i: u32, r: u32, top: i32) -> vec2<u32> {
    if i >= span.y || r >= params.rank {
        return vec2(0u);
    }
    let product = shift_left_64(multiply_i32(element(span.x + i, r), bitcast<i32>(mantissas[i])), 16u);
    return shift_right_signed_64(product, distance_to(top, exponents[i]));
}

// Returns `value`, which belongs to token i of the block and column r of u, divided by 2^shift and rounded with dither
// to 14 bits. Returns 0 past the end of the block.
fn rounded(span: vec2<u32>, i: u32, r: u32, value: vec2<u32>, shift: u32) -> i32 {
    if i >= span.y {
        return 0i;
    }
    let key = vec2(dither[2u + 2u * params.stream], dither[3u + 2u * params.stream]);
    return bitcast<i32>(round_dither_64(value, shift, dither_at(key, dither[0] + span.x + i, r)).x);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let block = group.y + params.first_group;
    let lane = local.x;
    let span = vec2(spans[block * 2u], spans[block * 2u + 1u]);
    if lane < 32u {
        var scale = Scale(0u, ZERO_EXPONENT);
        if lane < span.y {
            scale = row_scale(span.x + lane);
        }
        mantissas[lane] = scale.mantissa;
        exponents[lane] = scale.exponent;
    }
    workgroupBarrier();
    var top = LOWEST_EXPONENT;
    for (var i = 0u; i < 32u; i++) {
        top = max(top, exponents[i]);
    }

    let word = lane & 7u;
    let i = word << 2u;
    for (var base = 0u; base < params.rank; base += 8u) {
        let r = base + (lane >> 3u);
        let a = folded(span, i, r, top);
        let b = folded(span, i + 1u, r, top);
        let c = folded(span, i + 2u, r, top);
        let d = folded(span, i + 3u, r, top);
        largest[lane] = max_64(max_64(magnitude_64(a), magnitude_64(b)), max_64(magnitude_64(c), magnitude_64(d)));
        workgroupBarrier();
        var best = vec2(0u);
        for (var other = lane & 56u; other < (lane & 56u) + 8u; other++) {
            best = max_64(best, largest[other]);
        }
        workgroupBarrier();
        if r < params.rank {
            let shift = shift_for(best, WIDE_BITS);
            let values = vec4(
                rounded(span, i, r, a, shift),
                rounded(span, i + 1u, r, b, shift),
                rounded(span, i + 2u, r, c, shift),
                rounded(span, i + 3u, r, d, shift),
            );
            let at = (block * params.rank + r) * 20u;
            out[at + word] = wide_high(values);
            out[at + 8u + word] = wide_low(values);
            if word < 4u {
                out[at + 16u + word] = select(0u, bitcast<u32>(top - 16i + bitcast<i32>(shift)), word == 0u);
            }
        }
    }
}
