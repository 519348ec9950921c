// Package auth owns who a person is and what their role lets them do: password hashes, the Actor in a request's context,
// the table of roles and actions, and the rule that a checker is not the maker.
//
// Its answers are refusals from billing (forbidden, unauthenticated, self_approval, already_approved), each one sentence
// that says who may do it instead. It is asked twice: by the edge that takes a click, and again by the activity that
// records the decision, because a role may have ended in between.
//
// It refuses to keep people or sessions (the store and the web server do), and to judge business state: whether a cut is
// allowed now is supply's question; here is only who may ask for it.
package auth
