package simulator

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A month of a whole line of 240 meters, asked every hour.
func BenchmarkMonthOfALine(b *testing.B) {
	power := ids(b, false)
	for b.Loop() {
		gateway := GatewaySpec{ID: "g1"}
		for i := range 240 {
			gateway.Meters = append(gateway.Meters, MeterSpec{
				Unit: byte(i + 1), Serial: fmt.Sprintf("%012d", i), Profile: "sim-ddsy1352", LoadProfile: power[i%len(power)],
			})
		}
		c := &ticker{at: epoch}
		f := open(b, FleetSpec{Gateways: []GatewaySpec{gateway}}, b.TempDir(), c)
		for range 35 * 24 {
			c.at = c.at.Add(time.Hour)
			require.NoError(b, f.Advance())
		}
		require.NoError(b, f.Close())
	}
}
