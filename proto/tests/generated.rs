//! `src/gen` is what the `.proto` files say. Refresh with `BBT_REGENERATE=1 cargo test -p bbt-proto --test generated`.

use std::{fs, path::Path};

const SOURCES: [&str; 2] = ["bbt/enrollment/v1/enrollment.proto", "bbt/report/v1/report.proto"];

#[test]
fn generated_code_equals_its_sources() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().expect("a folder for the generated code");
    let descriptors = protox::compile(SOURCES, [home]).expect("the .proto files compile");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .bytes(".bbt.report.v1.Frame")
        .skip_debug([".bbt.report.v1.Secret"])
        .codec_path("crate::codec::SmallBuffers")
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .compile_fds(descriptors)
        .expect("code is generated");
    for file in ["bbt.enrollment.v1.rs", "bbt.report.v1.rs"] {
        let fresh = fs::read_to_string(out.path().join(file)).expect("generated file");
        let committed = home.join("src/gen").join(file);
        if std::env::var_os("BBT_REGENERATE").is_some() {
            fs::write(&committed, &fresh).expect("refreshed");
        }
        let kept = fs::read_to_string(&committed).unwrap_or_default();
        assert!(
            kept == fresh,
            "src/gen/{file} differs from the .proto files; run BBT_REGENERATE=1 cargo test -p bbt-proto --test generated"
        );
    }
}
