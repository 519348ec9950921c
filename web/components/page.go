package components

// noticeRole: a refusal interrupts a screen reader, everything else waits for a pause.
func noticeRole(t Tone) string {
	if t == Danger {
		return "alert"
	}
	return "status"
}
