package blindbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The examples of the README are whole programs.
func TestTheExamplesOfTheReadmeCompile(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	must(t, err)
	found := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllSubmatch(readme, -1)
	if len(found) == 0 {
		t.Fatal("the README has no example")
	}
	module, err := filepath.Abs(".")
	must(t, err)
	for _, block := range found {
		directory := t.TempDir()
		must(t, os.WriteFile(filepath.Join(directory, "main.go"), block[1], 0o600))
		run := func(name string, arguments ...string) string {
			t.Helper()
			command := exec.Command(name, arguments...)
			command.Dir = directory
			output, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			return string(output)
		}
		run("go", "mod", "init", "readme")
		name := "blindbox-attestation/bindings/go"
		run("go", "mod", "edit", "-require", name+"@v0.0.0", "-replace", name+"="+module)
		run("go", "vet", ".")
		equal(t, run("gofmt", "-l", "."), "")
	}
}
