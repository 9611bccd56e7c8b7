// The tour of Holdfast's gRPC interface, with a client that was generated from holdfast.proto.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "tour/holdfast/v1"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func same(found, wanted any) {
	if found != wanted {
		panic(fmt.Sprintf("found %v, wanted %v", found, wanted))
	}
}

func large(ctx context.Context, store pb.HoldfastClient, value []byte) {
	in, err := store.Store(ctx)
	must(err)
	begin := &pb.StoreRequest{Namespace: "tour", Key: "large"}
	must(in.Send(&pb.StoreChunk{Chunk: &pb.StoreChunk_Begin{Begin: begin}}))
	for at := 0; at < len(value); at += 1 << 20 {
		must(in.Send(&pb.StoreChunk{Chunk: &pb.StoreChunk_Data{Data: value[at : at+1<<20]}}))
	}
	must(in.Send(&pb.StoreChunk{Chunk: &pb.StoreChunk_End{End: &pb.Done{}}}))
	receipt, err := in.CloseAndRecv()
	must(err)
	same(receipt.Size, uint64(len(value)))
	out, err := store.Load(ctx, &pb.LoadRequest{Namespace: "tour", Key: "large"})
	must(err)
	var found []byte
	for {
		chunk, err := out.Recv()
		if err == io.EOF {
			break
		}
		must(err)
		found = append(found, chunk.GetData()...)
	}
	same(bytes.Equal(found, value), true)
}

func batch(ctx context.Context, store pb.HoldfastClient) {
	stream, err := store.Batch(ctx)
	must(err)
	put := &pb.StoreRequest{Key: "b", Value: []byte("2")}
	get := &pb.LoadRequest{Key: "b"}
	must(stream.Send(&pb.BatchRequest{Namespace: "tour", Operations: []*pb.Operation{
		{Verb: &pb.Operation_Store{Store: put}}, {Verb: &pb.Operation_Load{Load: get}},
	}}))
	answer, err := stream.Recv()
	must(err)
	same(len(answer.Results), 2)
	same(string(answer.Results[1].GetLoad().Value), "2")
	must(stream.CloseSend())
	_, err = stream.Recv()
	same(err, io.EOF)
}

func main() {
	address, token := os.Args[1], os.Args[2]
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	store := pb.NewHoldfastClient(connection)

	_, err = store.Put(ctx, &pb.StoreRequest{Namespace: "tour", Key: "a", Value: []byte("1")})
	must(err)
	value, err := store.Get(ctx, &pb.LoadRequest{Namespace: "tour", Key: "a"})
	must(err)
	same(string(value.Value), "1")
	_, err = store.Get(ctx, &pb.LoadRequest{Namespace: "tour", Key: "none"})
	same(status.Code(err), codes.NotFound)
	lease, err := store.Lock(ctx, &pb.LockRequest{Namespace: "tour", Key: "a"})
	must(err)
	_, err = store.Unlock(ctx, &pb.UnlockRequest{Namespace: "tour", Key: "a", LockId: lease.LockId})
	must(err)
	large(ctx, store, bytes.Repeat([]byte("x"), 5<<20))
	batch(ctx, store)
	pages, err := store.List(ctx, &pb.ListRequest{Namespace: "tour"})
	must(err)
	page, err := pages.Recv()
	must(err)
	same(fmt.Sprint(page.Keys), "[a b large]")
	_, err = store.Delete(ctx, &pb.DeleteRequest{Namespace: "tour", Key: "a"})
	must(err)
	fmt.Println("done")
}
