package auth

import (
	"sync"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"

	"github.com/meterflow/meterflow/internal/billing"
)

// Bounds of a password, in characters. The upper one keeps a sign-in from costing memory and time without end.
const (
	MinPassword = 8
	MaxPassword = 128
)

// hashing is the minimum that the OWASP Password Storage Cheat Sheet names for argon2id: 19 MiB, two passes, one lane. It
// costs some 30 ms, which leaves a two-core machine usable while people sign in.
var hashing = &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// nobody is compared with when there is no such user, so that the time of the answer doesn't tell.
var nobody = sync.OnceValue(func() string {
	hash, err := argon2id.CreateHash("nobody signs in with this", hashing)
	if err != nil {
		panic(err) // the machine has no source of randomness
	}
	return hash
})

// HashPassword makes the text to keep for a password: algorithm, costs, salt and hash in one. It refuses one that is too
// short or too long.
func HashPassword(password string) (string, error) {
	switch n := utf8.RuneCountInString(password); {
	case n < MinPassword:
		return "", billing.Errorf(billing.CodeInvalidInput, "The password has %d characters; use at least %d.", n, MinPassword)
	case n > MaxPassword:
		return "", billing.Errorf(billing.CodeInvalidInput, "The password has %d characters; use at most %d.", n, MaxPassword)
	}
	return argon2id.CreateHash(password, hashing)
}

// CheckPassword compares a password with a kept hash; give an empty hash when there is no such user. Both failures are the
// same refusal, after the same work. A hash that can't be read is an internal error, not a wrong password.
func CheckPassword(password, hash string) error {
	known := hash != ""
	if !known {
		hash = nobody()
	}
	if utf8.RuneCountInString(password) > MaxPassword {
		password = ""
	}
	match, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return err
	}
	if !match || !known {
		return billing.Errorf(billing.CodeUnauthenticated, "The name or the password is wrong; try again, or ask an administrator for a new password.")
	}
	return nil
}
