// The gradient of attention with respect to queries: dq = dS · k / √head_dim, where dS = P ∘ (dP − Σ P ∘ dP),
// dP = dout · vᵀ, and P are the attention probabilities; the sum is over keys, and ∘ is the elementwise product.

struct Params {
    first_group: u32,
    tokens: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    group_inverse: u32,
    score_mantissa: u32,
    score_shift: i32,
    inverse_root: u32,
    inverse_root_exponent: i32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<u32>>; // [tokens, heads] head rows
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>; // [tokens, kv_heads] head rows
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>; // [tokens, kv_heads] head rows
@group(0) @binding(4) var<storage, read> dout: array<vec4<u32>>; // [tokens, heads] head rows
@group(0) @binding(5) var<storage, read> tables: array<u32>; // [257] exponentials Q30, then [257] logarithms Q24
@group(0) @binding(6) var<storage, read> dither: array<u32>; // index of the first token, 0, keys of the streams
@group(0) @binding(7) var<storage, read_write> stats: array<u32>; // [tokens, heads, 8], see src/kernels/attention.rs
@group(0) @binding(8) var<storage, read_write> dq: array<i32>; // [tokens, heads, head_dim + 4] i32 rows
