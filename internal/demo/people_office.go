package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// office is the JSON API as people use it: each with a session of their own.
type office struct {
	base string

	mu      sync.Mutex
	people  map[billing.UserID]*http.Client
	refused map[string]int
}

// refusal is an answer that says no.
type refusal struct {
	status  int
	code    string
	message string
}

// Error is what the software said.
func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.status, r.code, r.message) }

const mostAnswer = 1 << 20

func newOffice(base string) *office {
	return &office{base: strings.TrimSuffix(base, "/"), people: map[billing.UserID]*http.Client{}, refused: map[string]int{}}
}

// as is the session of a person, signed in when needed.
func (o *office) as(ctx context.Context, user billing.UserID) (*http.Client, error) {
	o.mu.Lock()
	client, ok := o.people[user]
	o.mu.Unlock()
	if ok {
		return client, nil
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	client = &http.Client{Jar: jar, Timeout: time.Minute}
	if err := o.send(ctx, client, http.MethodPost, "/api/v1/session", map[string]string{"user": string(user), "password": Password}, nil); err != nil {
		return nil, fmt.Errorf("%s can't sign in: %w", user, err)
	}
	o.mu.Lock()
	o.people[user] = client
	o.mu.Unlock()
	return client, nil
}

// post does something in a person's name. A session that has ended is renewed once.
func (o *office) post(ctx context.Context, user billing.UserID, path string, body, out any) error {
	for attempt := 0; ; attempt++ {
		client, err := o.as(ctx, user)
		if err != nil {
			return err
		}
		err = o.send(ctx, client, http.MethodPost, path, body, out)
		if r, ok := err.(*refusal); ok && r.status == http.StatusUnauthorized && attempt == 0 {
			o.mu.Lock()
			delete(o.people, user)
			o.mu.Unlock()
			continue
		}
		return err
	}
}

func (o *office) send(ctx context.Context, client *http.Client, method, path string, body, out any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, o.base+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &refusal{code: "unreachable", message: err.Error()} // the server restarts: people try again
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, mostAnswer))
	if err != nil {
		return &refusal{code: "unreachable", message: err.Error()}
	}
	if response.StatusCode >= http.StatusBadRequest {
		return o.refuse(response.StatusCode, answer)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s answers something else than JSON: %w", method, path, err)
	}
	return nil
}

// refuse reads a refusal and counts it.
func (o *office) refuse(status int, answer []byte) error {
	var said struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}
	if json.Unmarshal(answer, &said) != nil || said.Code == "" {
		said.Code = fmt.Sprint(status)
	}
	o.mu.Lock()
	o.refused[said.Code]++
	o.mu.Unlock()
	return &refusal{status: status, code: said.Code, message: said.Detail}
}
