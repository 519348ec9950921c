package main

import (
	"net"
	"time"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	"go.temporal.io/server/temporal"
)

const (
	loopback    = "127.0.0.1"
	clusterName = "active"
	// historyShards is fixed for the life of a database. Four keep four updates of different workflows from waiting for each
	// other, which is what a machine of a few cores can do anyway; each shard polls its queues all the time.
	historyShards = 4
)

// tuning differs from the server's defaults, which are made for large clusters.
var tuning = dynamicconfig.StaticClient{
	// One partition per task queue: more only spread the load over hosts, and cost polls and forwarded tasks here.
	dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
	dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
	// Gossip with ourselves needs no time to travel; the defaults make every start and stop wait for it.
	dynamicconfig.RingpopApproximateMaxPropagationTime.Key(): 50 * time.Millisecond,
	// The default of 10 lists a second is soon used up by the daily checks of a catching-up demo.
	dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 200,
	// Nexus needs an HTTP port, which we don't open.
	dynamicconfig.EnableNexus.Key(): false,
}

func newServer(opts options) (temporal.Server, error) {
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Level: opts.logLevel, OutputFile: opts.logFile, Format: "console"}))
	return temporal.NewServer(
		temporal.WithConfig(serverConfig(opts)),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithLogger(logger),
		temporal.WithDynamicConfigClient(tuning),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
	)
}

func serverConfig(opts options) *config.Config {
	services := make(map[string]config.Service, len(opts.ports))
	for name, ports := range opts.ports {
		services[name] = config.Service{RPC: config.RPC{GRPCPort: ports.grpc, MembershipPort: ports.membership, BindOnIP: opts.bind}}
	}
	archivalOff := config.ArchivalNamespaceDefaults{
		History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
		Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
	}
	return &config.Config{
		// The services talk to each other through loopback even when the frontend listens on all addresses.
		Global: config.Global{Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback}},
		Persistence: config.Persistence{
			DefaultStore:     "default",
			VisibilityStore:  "visibility",
			NumHistoryShards: historyShards,
			DataStores: map[string]config.DataStore{
				"default":    {SQL: sqlConfig(opts, opts.database)},
				"visibility": {SQL: sqlConfig(opts, opts.visibilityDatabase)},
			},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: opts.frontendAddress()},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            services,
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		PublicClient:      config.PublicClient{HostPort: opts.frontendAddress()},
		NamespaceDefaults: config.NamespaceDefaults{Archival: archivalOff},
	}
}

// sqlConfig is the connection to one of the two databases. TLS and other settings come with the URL's query (sslmode=…).
func sqlConfig(opts options, database string) *config.SQL {
	password, _ := opts.postgres.User.Password()
	port := opts.postgres.Port()
	if port == "" {
		port = "5432"
	}
	attributes := map[string]string{}
	for key, values := range opts.postgres.Query() {
		attributes[key] = values[0]
	}
	return &config.SQL{
		PluginName:        postgresql.PluginNamePGX,
		ConnectAddr:       net.JoinHostPort(opts.postgres.Hostname(), port),
		ConnectProtocol:   "tcp",
		ConnectAttributes: attributes,
		User:              opts.postgres.User.Username(),
		Password:          password,
		DatabaseName:      database,
		MaxConns:          opts.maxConnections,
		MaxIdleConns:      opts.maxConnections,
		MaxConnLifetime:   time.Hour,
	}
}
