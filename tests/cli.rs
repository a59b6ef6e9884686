#[test]
fn t() {
    let o = std::process::Command::new(env!("CARGO_BIN_EXE_blindbox-attest")).output().unwrap();
    println!("{:?}", o);
}
