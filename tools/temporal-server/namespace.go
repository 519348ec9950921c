package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// namespaceWithin bounds the wait for the frontend to know a namespace that was just registered: its cache is refreshed
// every two seconds, and a history shard may still be on its way after a crash.
const namespaceWithin = time.Minute

// prepareNamespace registers the namespace and its search attributes when they are missing, and returns when the frontend
// answers for it. The retention of a namespace that exists is left alone.
func prepareNamespace(ctx context.Context, opts options) error {
	conn, err := grpc.NewClient(opts.frontendAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, namespaceWithin)
	defer cancel()

	workflows := workflowservice.NewWorkflowServiceClient(conn)
	steps := []func() error{
		func() error { return registerNamespace(ctx, workflows, opts) },
		func() error { return addSearchAttributes(ctx, operatorservice.NewOperatorServiceClient(conn), opts) },
		func() error {
			// Listing goes through the frontend's own cache, as starting a workflow does.
			_, err := workflows.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: opts.namespace, PageSize: 1})
			return err
		},
	}
	for _, step := range steps {
		if err := retryUntilDone(ctx, step); err != nil {
			return fmt.Errorf("namespace %q: %w", opts.namespace, err)
		}
	}
	return nil
}

func registerNamespace(ctx context.Context, client workflowservice.WorkflowServiceClient, opts options) error {
	_, err := client.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace:                        opts.namespace,
		WorkflowExecutionRetentionPeriod: durationpb.New(opts.retention),
	})
	var exists *serviceerror.NamespaceAlreadyExists
	if errors.As(serviceerror.FromStatus(status.Convert(err)), &exists) {
		return nil
	}
	return err
}

func addSearchAttributes(ctx context.Context, client operatorservice.OperatorServiceClient, opts options) error {
	if len(opts.wanted) == 0 {
		return nil
	}
	_, err := client.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: opts.namespace, SearchAttributes: opts.wanted,
	})
	return err // a search attribute that exists with the same type is no error
}

// parseSearchAttributes reads "Name=Type,…"; the types are Temporal's: Text, Keyword, Int, Double, Bool, Datetime, KeywordList.
func parseSearchAttributes(list string) (map[string]enumspb.IndexedValueType, error) {
	wanted := map[string]enumspb.IndexedValueType{}
	if strings.TrimSpace(list) == "" {
		return wanted, nil
	}
	for item := range strings.SplitSeq(list, ",") {
		name, typeName, _ := strings.Cut(strings.TrimSpace(item), "=")
		value, err := enumspb.IndexedValueTypeFromString(typeName)
		if err != nil || name == "" || value == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
			return nil, fmt.Errorf("--search-attributes: %q must be NAME=TYPE with a type such as Keyword, Int or Datetime", item)
		}
		wanted[name] = value
	}
	return wanted, nil
}

// retryUntilDone repeats a step while the server is still finding its feet.
func retryUntilDone(ctx context.Context, step func() error) error {
	for {
		err := step()
		if err == nil || !isTransient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func isTransient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.NotFound, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal:
		return true
	}
	return false
}
