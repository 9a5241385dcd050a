//! Debian's Chromium without a window, driven by the DevTools protocol over a pipe: messages of JSON that end in a zero byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing here takes longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The browser with one page. It ends with the value.
pub struct Chromium {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    last: u64,
    session: String,
    /// What the console and the log of the page said.
    pub complaints: Vec<String>,
    _home: TempDir,
}

impl Chromium {
    /// Under another user's id where one is given.
    pub fn start(uid: Option<u32>) -> Self {
        let home = tempfile::tempdir().unwrap();
        // The protocol is on descriptors 3 and 4.
        let mut command = Command::new("sh");
        command.arg("-c").arg(
            "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
             --disable-background-networking --disable-component-update --no-proxy-server --disable-extensions \
             --remote-debugging-pipe --user-data-dir=\"$HOME/profile\" about:blank 3<&0 4>&1 0</dev/null 1>/dev/null 2>\"$HOME/log\"",
        );
        command
            .env("HOME", home.path())
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
        command
            .env("XDG_CONFIG_HOME", home.path())
            .env("XDG_CACHE_HOME", home.path());
        command.current_dir(home.path());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // Its children end with it.
        command.process_group(0);
        if let Some(uid) = uid {
            chown(home.path(), Some(uid), Some(uid))
                .expect("another user needs root: make test-browser");
            command.uid(uid).gid(uid);
        }
        let mut child = command.spawn().unwrap();
        let to = child.stdin.take().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (sender, from) = sync_channel(10_000);
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            while out.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
                bytes.pop();
                if sender
                    .send(serde_json::from_slice(&bytes).unwrap())
                    .is_err()
                {
                    return;
                }
                bytes.clear();
            }
        });
        let mut chromium = Self {
            child,
            to,
            from,
            last: 0,
            session: String::new(),
            complaints: Vec::new(),
            _home: home,
        };
        let target = chromium.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = chromium.call("Target.attachToTarget", target);
        chromium.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            chromium.call(&format!("{domain}.enable"), json!({}));
        }
        chromium
    }

    /// One call of the protocol.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let no_browser = "Chromium does not answer; `make deps` installs it";
        self.to.write_all(&bytes).expect(no_browser);
        loop {
            let mut said = self.from.recv_timeout(PATIENCE).expect(no_browser);
            if said["id"] == json!(id) {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].take();
            }
            self.note(&said);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Log.entryAdded") => {
                let entry = &params["entry"];
                self.complaints
                    .push(format!("{} {}", entry["level"], entry["text"]));
            }
            Some("Runtime.exceptionThrown") => self.complaints.push(params.to_string()),
            Some("Runtime.consoleAPICalled") => self.complaints.push(params["args"].to_string()),
            _ => {}
        }
    }

    /// The value of an expression, which may be a promise. Such code is the test's own: the page's policy does not bind it.
    #[track_caller]
    pub fn eval(&mut self, code: &str) -> Value {
        let params = json!({"expression": code, "awaitPromise": true, "returnByValue": true});
        let mut result = self.call("Runtime.evaluate", params);
        assert!(result.get("exceptionDetails").is_none(), "{code}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn until(&mut self, code: &str) {
        let since = Instant::now();
        while self.eval(code) != json!(true) {
            if since.elapsed() > PATIENCE {
                let page = self.eval("document.body.innerText");
                panic!("{code}: {page:#}\n{:?}", self.complaints);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    pub fn open(&mut self, url: &str) {
        self.eval("window.isOld = true");
        self.call("Page.navigate", json!({"url": url}));
        self.until("!window.isOld && document.readyState === 'complete'");
    }

    /// Writes into a form's field and sends it by Enter, which opens what the form names.
    #[track_caller]
    pub fn send(&mut self, form: &str, text: &str) {
        self.eval(&format!(
            "window.isOld = true; document.querySelector('#{form} [name=image]').focus()"
        ));
        self.type_text(text);
        self.press("Enter", 13);
        self.until("!window.isOld && document.readyState === 'complete'");
    }

    /// `light` or `dark`, in so wide a window.
    pub fn looks(&mut self, scheme: &str, width: u32, height: u32) {
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", feature);
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    pub fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let mut params =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// A PNG of what the window shows.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its pipe's end ends it, and its children.
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
