package blindbox

// #include <blindbox.h>
import "C"

import (
	"context"
	"encoding/json"
)

// Event is something that the core reports.
type Event struct {
	// Level is error, warn, info, debug or trace.
	Level   string
	Message string
	// Fields are the facts of the event.
	Fields map[string]any
	// Dropped is how many events were dropped before this one, because none was taken for too long.
	Dropped uint64
}

// Log gives events of the core from a level on (off, error, warn, info, debug or trace) to a function, until the context ends. The
// events are those of the whole process: one Log at a time. Run it in a goroutine of its own.
func Log(ctx context.Context, level string, report func(Event)) error {
	if err := logLevel(level); err != nil {
		return err
	}
	defer func() { _ = logLevel("off") }()
	for ctx.Err() == nil {
		var event *C.char
		var failure *C.bb_error
		// Each wait is short, so that the end of the context is seen.
		if number := C.bb_log_next(100, &event, &failure); number != 0 {
			return failed(number, failure)
		}
		if event == nil {
			continue
		}
		var parsed struct {
			Level   string `json:"level"`
			Message string `json:"message"`
			Fields  string `json:"fields"`
			Dropped uint64 `json:"dropped"`
		}
		if err := json.Unmarshal([]byte(taken(event)), &parsed); err != nil {
			return own("internal", err.Error())
		}
		made := Event{Level: parsed.Level, Message: parsed.Message, Dropped: parsed.Dropped}
		if err := json.Unmarshal([]byte(parsed.Fields), &made.Fields); err != nil {
			return own("internal", err.Error())
		}
		report(made)
	}
	return ctx.Err()
}

func logLevel(level string) error {
	given, err := text("level", level)
	if err != nil {
		return err
	}
	defer freeText(given)
	var failure *C.bb_error
	if number := C.bb_log_level(given, &failure); number != 0 {
		return failed(number, failure)
	}
	return nil
}
