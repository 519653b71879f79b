// Lanes: the invocations of a workgroup that together compute a row or a head, and what they know of each other.
// All of them call these functions; a lane's own value goes in, the same answer comes out everywhere.
// Workgroup memory is scarce here, since browsers zero it for each workgroup, and a software GPU for each invocation.

// Invocations of a workgroup that computes a row: the kernel's @workgroup_size.
const LANES = 256u;
// Of one that computes a head: half as many.
const HEAD_LANES = 128u;
// This many lanes reduce 8 of 128 each, and all reduce what they found; a row's upper half joins the lower before.
const LANE_GROUPS = 16u;

var<workgroup> lanes: array<vec4<u32>, HEAD_LANES>;
var<workgroup> lane_groups: array<vec4<u32>, LANE_GROUPS>;
var<workgroup> head_lanes: array<vec2<u32>, HEAD_LANES>;
var<workgroup> head_groups: array<vec2<u32>, LANE_GROUPS>;

// Two 64-bit integers as one vec4: the larger of each, unsigned.
fn max_pair(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4(max_64(a.xy, b.xy), max_64(a.zw, b.zw));
}

// The sum of each mod 2^64.
fn add_pair(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4(add_64(a.xy, b.xy), add_64(a.zw, b.zw));
}

// The largest over a row's lanes of two magnitudes.
// No lane still reads `lanes` when this is called again: all have passed its last barrier.
fn row_max(lane: u32, pair: vec4<u32>) -> vec4<u32> {
    if lane >= HEAD_LANES {
        lanes[lane - HEAD_LANES] = pair;
    }
    workgroupBarrier();
    if lane < HEAD_LANES {
        lanes[lane] = max_pair(lanes[lane], pair);
    }
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var best = lanes[lane];
        for (var i = lane + LANE_GROUPS; i < HEAD_LANES; i += LANE_GROUPS) {
            best = max_pair(best, lanes[i]);
        }
        lane_groups[lane] = best;
    }
    workgroupBarrier();
    var best = lane_groups[0];
    for (var i = 1u; i < LANE_GROUPS; i++) {
        best = max_pair(best, lane_groups[i]);
    }
    return best;
}

// The sums over a row's lanes, mod 2^64, of two integers; as row_max.
fn row_sum(lane: u32, pair: vec4<u32>) -> vec4<u32> {
    if lane >= HEAD_LANES {
        lanes[lane - HEAD_LANES] = pair;
    }
    workgroupBarrier();
    if lane < HEAD_LANES {
        lanes[lane] = add_pair(lanes[lane], pair);
    }
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var sum = lanes[lane];
        for (var i = lane + LANE_GROUPS; i < HEAD_LANES; i += LANE_GROUPS) {
            sum = add_pair(sum, lanes[i]);
        }
        lane_groups[lane] = sum;
    }
    workgroupBarrier();
    var sum = lane_groups[0];
    for (var i = 1u; i < LANE_GROUPS; i++) {
        sum = add_pair(sum, lane_groups[i]);
    }
    return sum;
}

// The largest value over a head's lanes, as row_max; its sign is flipped, so that order without sign is its order.
fn head_max(lane: u32, value: i32) -> i32 {
    let biased = bitcast<u32>(value) ^ 0x80000000u;
    head_lanes[lane] = vec2(biased, 0u);
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var best = biased;
        for (var i = lane + LANE_GROUPS; i < HEAD_LANES; i += LANE_GROUPS) {
            best = max(best, head_lanes[i].x);
        }
        head_groups[lane] = vec2(best, 0u);
    }
    workgroupBarrier();
    var best = head_groups[0].x;
    for (var i = 1u; i < LANE_GROUPS; i++) {
        best = max(best, head_groups[i].x);
    }
    return bitcast<i32>(best ^ 0x80000000u);
}

// The sum over a head's lanes, mod 2^64; as row_max.
fn head_sum(lane: u32, value: vec2<u32>) -> vec2<u32> {
    head_lanes[lane] = value;
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var sum = value;
        for (var i = lane + LANE_GROUPS; i < HEAD_LANES; i += LANE_GROUPS) {
            sum = add_64(sum, head_lanes[i]);
        }
        head_groups[lane] = sum;
    }
    workgroupBarrier();
    var sum = head_groups[0];
    for (var i = 1u; i < LANE_GROUPS; i++) {
        sum = add_64(sum, head_groups[i]);
    }
    return sum;
}

// The largest values, by component, of the 32 lanes of this lane's block of a head.
fn block_max(lane: u32, value: vec2<u32>) -> vec2<u32> {
    head_lanes[lane] = value;
    workgroupBarrier();
    let first = lane & 0xe0u;
    var largest = head_lanes[first];
    for (var i = 1u; i < 32u; i++) {
        largest = max(largest, head_lanes[first + i]);
    }
    workgroupBarrier();
    return largest;
}
