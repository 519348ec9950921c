package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// mostBody bounds a control request.
const mostBody = 1 << 20

// Exchange is the body of POST /exchange.
type Exchange struct {
	Gateway string    `json:"gateway"`
	Unit    byte      `json:"unit"`
	Meter   MeterSpec `json:"meter"`
}

// Control is an HTTP door for steering a fleet from another process. It belongs on a loopback address: it asks nobody who
// they are.
//
//	POST   /faults            a Fault; answers {"id": …}
//	DELETE /faults            a Fault as pattern, see Fleet.Clear; answers {"cleared": n}
//	GET    /faults            FaultCounts
//	POST   /exchange          an Exchange
//	POST   /press             {"serial": …}: a customer presses the meter's button
//	GET    /gateways          {"gateway id": "host:port"}
//	GET    /lines             {"gateway id": LineUse}
//	GET    /lines/{gateway}   the LineUse of one gateway
//	GET    /meters/{serial}   the State, the truth about the meter
//	GET    /record            the record so far, one JSON object per line
func (f *Fleet) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /faults", f.postFault)
	mux.HandleFunc("DELETE /faults", f.deleteFaults)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, f.Faults()) })
	mux.HandleFunc("POST /exchange", f.postExchange)
	mux.HandleFunc("POST /press", f.postPress)
	mux.HandleFunc("GET /gateways", func(w http.ResponseWriter, _ *http.Request) {
		addresses := make(map[string]string, len(f.gateways))
		for _, g := range f.gateways {
			addresses[g.spec.ID] = f.Addr(g.spec.ID)
		}
		writeJSON(w, addresses)
	})
	mux.HandleFunc("GET /lines", f.getLines)
	mux.HandleFunc("GET /lines/{gateway}", f.getLine)
	mux.HandleFunc("GET /meters/{serial}", f.getMeter)
	mux.HandleFunc("GET /record", f.getRecord)
	return mux
}

func (f *Fleet) postFault(w http.ResponseWriter, r *http.Request) {
	var fault Fault
	if !readJSON(w, r, &fault) {
		return
	}
	id, err := f.Inject(fault)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, map[string]string{"id": id})
}

func (f *Fleet) deleteFaults(w http.ResponseWriter, r *http.Request) {
	var like Fault
	if !readJSON(w, r, &like) {
		return
	}
	cleared, err := f.Clear(like)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, map[string]int{"cleared": cleared})
}

func (f *Fleet) postExchange(w http.ResponseWriter, r *http.Request) {
	var exchange Exchange
	if !readJSON(w, r, &exchange) {
		return
	}
	if err := f.ExchangeMeter(exchange.Gateway, exchange.Unit, exchange.Meter); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (f *Fleet) postPress(w http.ResponseWriter, r *http.Request) {
	var at struct {
		Serial string `json:"serial"`
	}
	if !readJSON(w, r, &at) {
		return
	}
	if err := f.Press(at.Serial); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (f *Fleet) getLines(w http.ResponseWriter, _ *http.Request) {
	lines := make(map[string]LineUse, len(f.gateways))
	for _, g := range f.gateways {
		g.use.count(func(u *LineUse) { lines[g.spec.ID] = *u })
	}
	writeJSON(w, lines)
}

func (f *Fleet) getLine(w http.ResponseWriter, r *http.Request) {
	use, ok := f.LineUse(r.PathValue("gateway"))
	if !ok {
		http.Error(w, "there is no such gateway", http.StatusNotFound)
		return
	}
	writeJSON(w, use)
}

func (f *Fleet) getMeter(w http.ResponseWriter, r *http.Request) {
	state, err := f.MeterState(r.PathValue("serial"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	writeJSON(w, state)
}

func (f *Fleet) getRecord(w http.ResponseWriter, _ *http.Request) {
	file, err := os.Open(filepath.Join(f.dir, recordFile))
	if err != nil {
		http.Error(w, "the record can't be read", http.StatusInternalServerError)
		return
	}
	defer file.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	_, _ = io.Copy(w, file) // the reader went away: nothing to repair
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		http.Error(w, fmt.Sprintf("the body is not what is expected here: %v", err), http.StatusBadRequest)
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // the reader went away: nothing to repair
}
