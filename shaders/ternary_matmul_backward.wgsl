// out[t, slot, k] = Σ_n dy[t, n] · w[n, k], on codes 0..=2: Σ dy·code − Σ dy.
// One invocation: one column k, four tokens.

struct Params {
    first_group: u32,
    tokens: u32,
    in_features: u32,
    out_features: u32,
    slot: u32,
    slots: u32,
    planes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<u32>; // [tokens, planes, out_features] byte rows
@group(0) @binding(2) var<storage, read> dy_info: array<u32>; // [tokens, 4]
@group(0) @binding(3) var<storage, read> weights: array<u32>; // [out_features, in_features] block words
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, slots, in_features + 4]

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let k = group.x * 64u + local.x;
    if k >= params.in_features {
        return;
    }
    let rows = row_words(params.out_features);
    let words = row_words(params.in_features);
    let bit = (k & 3u) << 1u;
    for (var i = 0u; i < 4u; i++) {
        let t = (group.y + params.first_group) * 4u + i;
        if t >= params.tokens {
            return;
        }
        var sum = -i32(dy_info[t * 4u + 2u]);
        for (var n = 0u; n < rows; n++) {
            let codes = (transpose_block(weights[n * words + (k >> 2u)]) >> (bit & 31u)) & 0x03030303u;
            var dot = 0i;
            for (var plane = 0u; plane < params.planes; plane++) {
                dot = dot * 256i + dot4I8Packed(codes, dy[(t * params.planes + plane) * rows + n]);
            }
            sum += dot;
        }
        out[(t * params.slots + params.slot) * (params.in_features + 4u) + k] = sum;
    }
}
