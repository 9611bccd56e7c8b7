// The tour of 0-stor's gRPC interface, with a client that was generated from zstor.proto.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"tour/zstor"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func same(found, wanted any) {
	if !reflect.DeepEqual(found, wanted) {
		panic(fmt.Sprintf("found %v, wanted %v", found, wanted))
	}
}

func keys(ctx context.Context, objects zstor.ObjectManagerClient) []string {
	stream, err := objects.ListObjectKeys(ctx, &zstor.ListObjectKeysRequest{})
	must(err)
	found := []string{}
	for {
		one, err := stream.Recv()
		if err == io.EOF {
			return found
		}
		must(err)
		found = append(found, string(one.GetKey()))
	}
}

// 256 at once add a reference each, and take it out again.
func many(ctx context.Context, objects zstor.ObjectManagerClient, key []byte) {
	var all sync.WaitGroup
	for number := 0; number < 256; number++ {
		all.Add(1)
		go func(id []string) {
			defer all.Done()
			for {
				_, err := objects.AppendToReferenceList(ctx, &zstor.AppendToReferenceListRequest{Key: key, ReferenceList: id})
				if err == nil {
					break
				}
				same(status.Code(err), codes.InvalidArgument) // the list is full
			}
			_, err := objects.DeleteFromReferenceList(ctx, &zstor.DeleteFromReferenceListRequest{Key: key, ReferenceList: id})
			must(err)
		}([]string{fmt.Sprintf("r%d", number)})
	}
	all.Wait()
}

func main() {
	address, token, label := os.Args[1], os.Args[2], os.Args[3]
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	defer connection.Close()
	objects, spaces := zstor.NewObjectManagerClient(connection), zstor.NewNamespaceManagerClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", token, "label", label)
	key := []byte{0xff, 0x00, 'k'}

	_, err = objects.SetObject(ctx, &zstor.SetObjectRequest{Key: key, Data: []byte("1"), ReferenceList: []string{"a"}})
	must(err)
	found, err := objects.GetObject(ctx, &zstor.GetObjectRequest{Key: key})
	must(err)
	same(string(found.GetData()), "1")
	same(found.GetReferenceList(), []string{"a"})
	state, err := objects.GetObjectStatus(ctx, &zstor.GetObjectStatusRequest{Key: key})
	must(err)
	same(state.GetStatus(), zstor.ObjectStatus_ok)
	same(keys(ctx, objects), []string{string(key)})
	many(ctx, objects, key)
	list, err := objects.GetReferenceList(ctx, &zstor.GetReferenceListRequest{Key: key})
	must(err)
	same(list.GetReferenceList(), []string{"a"})
	_, err = objects.SetReferenceList(ctx, &zstor.SetReferenceListRequest{Key: key, ReferenceList: []string{"b", "b"}})
	must(err)
	count, err := objects.GetReferenceCount(ctx, &zstor.GetReferenceCountRequest{Key: key})
	must(err)
	same(count.GetCount(), int64(2))
	_, err = objects.DeleteReferenceList(ctx, &zstor.DeleteReferenceListRequest{Key: key})
	must(err)
	space, err := spaces.GetNamespace(ctx, &zstor.GetNamespaceRequest{})
	must(err)
	same(space.GetLabel(), label)
	same(space.GetNrObjects(), int64(1))
	_, err = objects.DeleteObject(ctx, &zstor.DeleteObjectRequest{Key: key})
	must(err)
	_, err = objects.GetObject(ctx, &zstor.GetObjectRequest{Key: key})
	same(status.Code(err), codes.NotFound)
	fmt.Println("done")
}
