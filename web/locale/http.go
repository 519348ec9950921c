package locale

import (
	"net/http"
	"strings"
	"time"

	"golang.org/x/text/language"
)

// cookieName holds the language that the person chose on the page.
const cookieName = "lang"

// Middleware chooses the language of each request: the person's own choice (cookie), then what the browser asks for,
// then Chinese. It marks the answer as depending on both.
func Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Language, Cookie")
		next.ServeHTTP(w, r.WithContext(WithLang(r.Context(), Choose(r))))
	})
}

// Choose is the language for a request, by the order that Middleware names.
func Choose(r *http.Request) Language {
	if c, err := r.Cookie(cookieName); err == nil {
		switch l := Language(c.Value); l {
		case ZH, EN:
			return l
		}
	}
	asked, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil {
		return ZH
	}
	// Not x/text's matcher: it sends readers of French and of traditional Chinese to English.
	for _, tag := range asked {
		switch base, _ := tag.Base(); base.String() {
		case "zh":
			return ZH
		case "en":
			return EN
		}
	}
	return ZH
}

// Switch serves the language switch: GET …?to=en&back=/accounts/7 keeps the choice for a year and goes back. An unknown
// language changes nothing; a way back that leaves this site leads to the first page.
func Switch(w http.ResponseWriter, r *http.Request) {
	switch l := Language(r.FormValue("to")); l {
	case ZH, EN:
		http.SetCookie(w, &http.Cookie{
			Name: cookieName, Value: string(l), Path: "/", MaxAge: int((365 * 24 * time.Hour).Seconds()),
			HttpOnly: true, SameSite: http.SameSiteLaxMode,
		})
	}
	http.Redirect(w, r, localPath(r.FormValue("back")), http.StatusSeeOther)
}

// localPath keeps a redirect inside this site. Browsers read "//host" and "/\host" as another host.
func localPath(back string) string {
	if !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.ContainsAny(back, "\\\r\n\t") {
		return "/"
	}
	return back
}
