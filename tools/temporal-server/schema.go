package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/tools/common/schema"
	"go.temporal.io/server/tools/sql"
)

// unfinished marks, as the database's comment, that its first schema setup has begun and not ended. The setup is many
// statements outside a transaction, so a database left with this mark is made anew.
const unfinished = "temporal-server: schema setup unfinished"

// prepareDatabases makes both databases and brings their schemas up to this server's version. A second call does nothing.
func prepareDatabases(ctx context.Context, opts options) error {
	for _, d := range []struct{ name, schema string }{
		{opts.database, "postgresql/v12/temporal"},
		{opts.visibilityDatabase, "postgresql/v12/visibility"},
	} {
		if err := prepareDatabase(ctx, opts, d.name, d.schema); err != nil {
			return fmt.Errorf("database %q: %w", d.name, err)
		}
	}
	if err := forgetMembers(ctx, opts); err != nil {
		return fmt.Errorf("database %q: %w", opts.database, err)
	}
	return nil
}

// forgetMembers drops what an earlier process of ours wrote about itself into the membership table. This program is the whole
// cluster, so every row there is dead; left in place after a crash or a change of ports, they cost the next start 20 to 100
// seconds of waiting for hosts that never answer.
func forgetMembers(ctx context.Context, opts options) error {
	config, err := pgx.ParseConfig(opts.postgresURL)
	if err != nil {
		return errors.New("--postgres-url can't be read as a PostgreSQL URL")
	}
	config.Database = opts.database
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "DELETE FROM cluster_membership")
	return err
}

func prepareDatabase(ctx context.Context, opts options, name, schemaName string) error {
	connectCtx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, err := pgx.Connect(connectCtx, opts.postgresURL)
	if err != nil {
		return fmt.Errorf("PostgreSQL can't be reached, check --postgres-url: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))

	fresh, err := createDatabase(ctx, conn, name)
	if err != nil {
		return err
	}
	if err := migrate(opts, name, schemaName, fresh); err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	_, err = conn.Exec(ctx, "COMMENT ON DATABASE "+pgx.Identifier{name}.Sanitize()+" IS NULL")
	return err
}

// createDatabase says whether the database is new, that is missing or left unfinished by an earlier try.
func createDatabase(ctx context.Context, conn *pgx.Conn, name string) (fresh bool, err error) {
	var exists bool
	var comment string
	row := conn.QueryRow(ctx, `select count(*) > 0, coalesce(max(shobj_description(oid, 'pg_database')), '')
		from pg_database where datname = $1`, name)
	if err := row.Scan(&exists, &comment); err != nil {
		return false, err
	}
	if exists && comment != unfinished {
		return false, nil
	}
	quoted := pgx.Identifier{name}.Sanitize()
	statements := []string{
		"CREATE DATABASE " + quoted,
		"COMMENT ON DATABASE " + quoted + " IS '" + unfinished + "'",
	}
	if exists {
		statements = append([]string{"DROP DATABASE " + quoted + " WITH (FORCE)"}, statements...)
	}
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return false, err
		}
	}
	return true, nil
}

// migrate runs the same two steps as `temporal-sql-tool setup-schema` and `update-schema`, as calls: the tool itself exits
// the process or swallows the error.
func migrate(opts options, database, schemaName string, fresh bool) error {
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Level: opts.logLevel, OutputFile: opts.logFile, Format: "console"}))
	conn, err := sql.NewConnection(sqlConfig(opts, database), logger)
	if err != nil {
		return err
	}
	defer conn.Close()
	if fresh {
		if err := schema.NewSetupSchemaTask(conn, &schema.SetupConfig{InitialVersion: "0.0"}, logger).Run(); err != nil {
			return fmt.Errorf("setting up the schema: %w", err)
		}
	}
	if err := schema.NewUpdateSchemaTask(conn, &schema.UpdateConfig{SchemaName: schemaName}, logger).Run(); err != nil {
		return fmt.Errorf("updating the schema: %w", err)
	}
	return nil
}
