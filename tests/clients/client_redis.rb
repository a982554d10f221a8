# What programs do with redis-rb.
require "redis"

def check(condition, what)
  abort "not so: #{what}" unless condition
end

client = Redis.new(port: ARGV[0].to_i)
check client.set("session:1", "ada", ex: 1800) == "OK", "login"
check client.get("session:1") == "ada", "known"
check client.set("session:1", "eve", nx: true) == false, "taken"
check client.ttl("session:1").between?(1790, 1800), "its deadline"
check client.mapped_hmset("cart:1", { "rope" => 1, "lamp" => 2 }) == "OK", "a hash"
check client.hgetall("cart:1") == { "rope" => "1", "lamp" => "2" }, "the same hash"
check client.pipelined { |pipe| pipe.incr("n"); pipe.get("n") } == [1, "1"], "a pipeline"
check client.multi { |pipe| pipe.incr("{u}n"); pipe.expire("{u}n", 100) } == [1, true], "a transaction"

threads = 4.times.map do
  Thread.new do
    mine = Redis.new(port: ARGV[0].to_i)
    25.times do
      loop do
        done = mine.watch("visits") do
          before = mine.get("visits").to_i
          mine.multi { |pipe| pipe.set("visits", before + 1) }
        end
        break if done
      end
    end
  end
end
threads.each(&:join)
check client.get("visits") == "100", "every visit"

check client.rename("session:1", "session:1:new") == "OK", "a new id"
check client.get("session:1").nil?, "the old id is of no use"
check client.get("session:1:new") == "ada", "the same user"
check client.ttl("session:1:new").between?(1, 1800), "the same deadline"

client.set("session:2", "bob", px: 100)
sleep 0.01 while client.exists?("session:2")
check client.del("session:1:new", "nothing") == 1, "logout"
check client.get("session:1:new").nil?, "gone"
puts "all is well"
