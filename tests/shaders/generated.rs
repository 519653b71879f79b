//! Checks the shader code that naga generates for graphics drivers (MSL, HLSL and GLSL): it must contain neither `/`
//! nor `%`. Some drivers miscompile these operators. WGSL without them is not enough, because naga can insert runtime
//! checks that use them.

use super::Parsed;
use naga::{ShaderStage, back, proc::BoundsCheckPolicies};

/// Returns one message for each shading language in which the generated code contains a division or a remainder, or
/// into which naga cannot translate the module.
pub(crate) fn faults(parsed: &Parsed) -> Vec<String> {
    let languages = [("MSL", msl(parsed)), ("HLSL", hlsl(parsed)), ("GLSL", glsl(parsed))];
    let fault = |(language, text): (&str, Result<String, String>)| match text {
        Ok(text) => division(&text).map(|line| format!("{language} divides: {line}")),
        Err(error) => Some(format!("naga generates no {language}: {error}")),
    };
    languages.into_iter().filter_map(fault).collect()
}

/// Returns the first line that contains `/` or `%`, ignoring comments and preprocessor directives.
pub(crate) fn division(text: &str) -> Option<&str> {
    let code = |line: &&str| !line.trim_start().starts_with('#');
    text.lines().filter(code).find(|line| line.split("//").next().is_some_and(|code| code.contains(['/', '%'])))
}

fn msl(Parsed { module, info, .. }: &Parsed) -> Result<String, String> {
    let options = back::msl::Options {
        lang_version: (2, 4),
        bounds_check_policies: unchecked(),
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let written = back::msl::write_string(module, info, &options, &Default::default());
    written.map(|(text, _)| text).map_err(|error| error.to_string())
}

fn hlsl(Parsed { module, info, .. }: &Parsed) -> Result<String, String> {
    let mut text = String::new();
    let options = back::hlsl::Options {
        shader_model: back::hlsl::ShaderModel::V6_4,
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let pipeline = back::hlsl::PipelineOptions::default();
    let written = back::hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None);
    written.map_err(|error| error.to_string())?;
    Ok(text)
}

fn glsl(Parsed { module, info, .. }: &Parsed) -> Result<String, String> {
    let mut text = String::new();
    let options = back::glsl::Options { zero_initialize_workgroup_memory: false, ..Default::default() };
    let pipeline = back::glsl::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: "main".to_owned(),
        multiview: None,
    };
    let writer = back::glsl::Writer::new(&mut text, module, info, &options, &pipeline, unchecked());
    writer.and_then(|mut writer| writer.write()).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Returns the policies that make naga add no bounds checks to the generated code. The library compiles its shaders
/// with the same policies.
fn unchecked() -> BoundsCheckPolicies {
    let policy = naga::proc::BoundsCheckPolicy::Unchecked;
    BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: policy }
}
