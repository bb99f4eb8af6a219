module bowline.dev/docker-env-file

go 1.24

require github.com/docker/cli v28.5.1+incompatible
