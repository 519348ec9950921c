package evidence

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// What a device answered is proof on which a person decides about money: it is said in the reader's language.
func TestEvidence_inChinese(t *testing.T) {
	c := store.Command{Kind: billing.CommandCredit, State: billing.CommandUnknown, Error: "not sent: meter M1 at 10.8.0.2:502 unit 3: the gateway can't be reached: no connection to the gateway"}
	require.Equal(t, "未下发：表 M1（10.8.0.2:502，站号 3）：网关无法连接：没有连上网关", facts(t.Context(), c)[0].Hint)
	frames := framesOf(json.RawMessage(`[{"sent_at": "2026-09-12T00:00:00Z", "request": "0103", "result": "the answer makes no sense: the register holds no number"}]`))
	require.Contains(t, frames[0].lines(t.Context()), "! 应答内容不合理：寄存器里不是数值")
}
