// Completes the sums Σ of lora_down.wgsl and lora_down_backward.wgsl. The function `partial` in both files computes one
// of the 16 parts of a sum. This file adds up the parts and rounds the sum: out[t, r] = round(Σ / 2^shift). The shift
// of a token's row is the smallest with |out| ≤ 2^14. The row info has the scale 2^shift and the sum of the row's
// integers. One workgroup computes one token, eight features at a time.

// A workgroup has 128 invocations. Each computes one of the 16 parts of the sum for one of 8 features.
const PARTS = 16u;
const FEATURES = 8u;
// The largest number of features that an output row can have: the largest rank of an adapter.
const MAX_RANK = 64u;

// The parts of the sums: the 16 parts of the first feature, then those of the next feature, and so on.
var<workgroup> partials: array<vec2<u32>, PARTS * FEATURES>;
// The complete sum of each feature. Its magnitude is < 2^49.
var<workgroup> sums: array<vec2<u32>, MAX_RANK>;

// Returns the sum of feature r, divided by 2^shift and rounded to nearest, ties to even; 0 past the end of the row.
fn rounded(r: u32, shift: u32) -> i32 {
    if r >= params.rank {
        return 0i;
    }
    return bitcast<i32>(round_even_64(sums[r], shift).x);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let lane = local.x;
    for (var first = 0u; first < params.rank; first += FEATURES) {
        if first + (lane >> 4u) < params.rank {
            partials[lane] = partial(token, first + (lane >> 4u), lane & 15u);
        }
        workgroupBarrier();
        if lane < FEATURES && first + lane < params.rank {
            var sum = partials[lane * PARTS];
            for (var part = 1u; part < PARTS; part++) {
                sum = add_64(sum, partials[lane * PARTS + part]);
            }
            sums[first + lane] = sum;
        }
        workgroupBarrier();
    }

    let words = row_words(params.rank);
    if lane >= words {
        return;
    }
    var best = vec2(0u);
    for (var r = 0u; r < params.rank; r++) {
        best = max_64(best, magnitude_64(sums[r]));
    }
    let shift = shift_for(best, WIDE_BITS);
    let r = lane << 2u;
    let values = vec4(rounded(r, shift), rounded(r + 1u, shift), rounded(r + 2u, shift), rounded(r + 3u, shift));
    out[token * 2u * words + lane] = wide_high(values);
    out[(token * 2u + 1u) * words + lane] = wide_low(values);
    if lane == 0u {
        var sum = 0i;
        for (var i = 0u; i < params.rank; i++) {
            sum += rounded(i, shift);
        }
        let unit = scale_power(bitcast<i32>(shift));
        let info = token * 4u;
        out_info[info] = unit.mantissa;
        out_info[info + 1u] = bitcast<u32>(unit.exponent);
        out_info[info + 2u] = bitcast<u32>(sum);
        out_info[info + 3u] = 0u;
    }
}
