// Computes out[t, n] = Σ_k x[t, k] · weights[n, k] in f32. Benchmarks compare the speed of the ternary matrix products
// with the speed of this product.
//
// A workgroup of 16 × 16 invocations computes a tile of 64 tokens × 64 output features: 4 × 4 elements per invocation.
// It copies 16 columns of both operands to workgroup memory at a time. The numbers of tokens, of input features and
// of output features must be multiples of 64.

struct Params {
    first_group: u32,
    tokens: u32,
    in_features: u32,
    out_features: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [tokens, in_features]
@group(0) @binding(2) var<storage, read> weights: array<f32>; // [out_features, in_features]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [tokens, out_features]

var<workgroup> tile_x: array<vec4<f32>, 256>; // 16 columns × 64 tokens, 4 tokens to a vector
var<workgroup> tile_w: array<vec4<f32>, 256>; // 16 columns × 64 output features, 4 features to a vector

@compute @workgroup_size(16, 16, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let width = params.in_features;
    let tile_t = (group.y + params.first_group) * 64u;
    let tile_n = group.x * 64u;
    let column = index & 15u;
    let quad = index >> 4u;
    let first_x = (tile_t + quad * 4u) * width + column;
    let first_w = (tile_n + quad * 4u) * width + column;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var k = 0u; k < width; k += 16u) {
        let at_x = first_x + k;
        let at_w = first_w + k;
        workgroupBarrier();
        tile_x[column * 16u + quad] = vec4<f32>(x[at_x], x[at_x + width], x[at_x + 2u * width], x[at_x + 3u * width]);
        tile_w[column * 16u + quad] =
            vec4<f32>(weights[at_w], weights[at_w + width], weights[at_w + 2u * width], weights[at_w + 3u * width]);
        workgroupBarrier();
        for (var i = 0u; i < 256u; i += 16u) {
            let tokens = tile_x[i + local.y];
            let rows = tile_w[i + local.x];
            s0 += tokens.x * rows;
            s1 += tokens.y * rows;
            s2 += tokens.z * rows;
            s3 += tokens.w * rows;
        }
    }
    let at = (tile_t + local.y * 4u) * params.out_features + tile_n + local.x * 4u;
    store(at, s0);
    store(at + params.out_features, s1);
    store(at + 2u * params.out_features, s2);
    store(at + 3u * params.out_features, s3);
}

fn store(at: u32, sums: vec4<f32>) {
    out[at] = sums.x;
    out[at + 1u] = sums.y;
    out[at + 2u] = sums.z;
    out[at + 3u] = sums.w;
}
