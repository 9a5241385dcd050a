module checker

go 1.19

require (
	github.com/pelletier/go-toml v1.9.5
	github.com/pelletier/go-toml/v2 v2.2.2
	gopkg.in/yaml.v2 v2.4.0
)
