use super::*;
#[test]
fn try_it() {
    let text = std::fs::read_to_string("/tmp/try.toml").unwrap();
    for p in Config::from_toml(&text).unwrap_err() {
        println!("{p}");
    }
}
